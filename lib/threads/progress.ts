/** Called with the amount done and the total. */
export type Progress = (done: number, total: number) => void;

/** Milliseconds between reports: displays refresh at most ten times a second. */
const REPORT_EVERY = 100;

/** Reports at most ten times a second, and at the end. */
export function throttled(report: Progress | undefined): Progress {
  let reported = -Infinity;
  return (done, total) => {
    const now = performance.now();
    if (now - reported < REPORT_EVERY && done < total) return;
    reported = now;
    report?.(done, total);
  };
}
