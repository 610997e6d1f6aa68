/**
 * Replaces what stands between `<!-- figures: MARK -->` and `<!-- end of figures -->`.
 *
 * @param {string} text
 * @param {string} mark
 * @param {string} block
 * @param {string} file where the text comes from, for errors
 * @returns {string}
 */
export function betweenMarks(text, mark, block, file) {
  const [begin, end] = [`<!-- figures: ${mark} -->`, '<!-- end of figures -->'];
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`${file} has no '${begin}' … '${end}'`);
  const middle = block === '' ? '\n' : `\n\n${block}\n\n`;
  return `${text.slice(0, from + begin.length)}${middle}${text.slice(to)}`;
}
