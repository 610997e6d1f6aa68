import { largestOf } from '../models/extremes';

/** A column of a text table. */
export interface Column {
  readonly title: string;
  /** Alignment of the cells. Default left. */
  readonly align?: 'left' | 'right';
}

/**
 * Formats rows as a text table: a title line, a rule, the rows, and after another rule the totals. It cuts no cell, and no line
 * ends in spaces.
 */
export function textTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  totals?: readonly string[],
): string {
  const titles = columns.map(({ title }) => title);
  const all = totals ? [titles, ...rows, totals] : [titles, ...rows];
  const widths = columns.map((_, i) => largestOf(all.map((row) => (row[i] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, i) => {
        const [cell, width] = [cells[i] ?? '', widths[i] ?? 0];
        return align === 'right' ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return [line(titles), rule, ...rows.map(line), ...(totals ? [rule, line(totals)] : [])].join('\n');
}
