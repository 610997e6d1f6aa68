// What docs/matrix_products.md shows of results, between the marks there: its pictures.
import { betweenMarks } from './marks.mjs';

/**
 * The page with the pictures of these results; those of suites without a result are left out.
 *
 * @param {string} page
 * @param {{ suite: string, kind: string, title: string }[]} results
 */
export function withPictures(page, results) {
  const picture = ({ suite, title }) => `![${title}](images/${suite}.svg)`;
  const shown = (isShown) => results.filter(isShown).map(picture).join('\n\n');
  const blocks = {
    products: shown(({ kind }) => kind === 'products'),
    alignment: shown(({ kind }) => kind === 'alignment'),
  };
  return Object.entries(blocks).reduce(
    (text, [mark, block]) => betweenMarks(text, mark, block, 'docs/matrix_products.md'),
    page,
  );
}
