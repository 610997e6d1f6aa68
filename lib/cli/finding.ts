/** What the doctor found out about one thing. */
export interface Finding {
  /** `note`: works, but could be better or is not there; `problem`: something does not work. */
  readonly status: 'ok' | 'note' | 'problem';
  /** What was looked at, such as 'cuda:0'. */
  readonly subject: string;
  /** What was found; of a problem, its cause. */
  readonly text: string;
  /** What makes it right or better. */
  readonly command?: string;
}
