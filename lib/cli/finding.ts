/** What `tesserae doctor` found about one subject. */
export interface Finding {
  /** `note`: optional, or works but could be better; `problem`: something does not work. */
  readonly status: 'ok' | 'note' | 'problem';
  /** What was checked, such as 'cuda:0'. */
  readonly subject: string;
  /** The result; for a problem, its cause. */
  readonly text: string;
  /** How to fix or improve it. */
  readonly command?: string;
}
