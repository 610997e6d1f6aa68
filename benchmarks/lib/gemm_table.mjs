// A table of matrix products: a row for each product, with the rates of our kernels and of cuBLASLt.
import { textTable } from '../../dist/report/table.js';
import { fastest, isLibrary, isOwn, isSeparate, libraryChoice } from './gemm_candidates.mjs';
import { layoutText, piecesText, shapeText } from './gemm_names.mjs';

const LIBRARY = ['cuBLASLt 1', 'cuBLASLt best', 'and a kernel', 'ours ÷ cuBLASLt'];

/**
 * @param {object[]} rows products with their `candidates`: { name, rate } in FLOP/s
 * @param {{ peak: number, format: (rate: number) => string }} options `peak` in FLOP/s
 */
export function gemmTable(rows, { peak, format }) {
  const own = [
    ...new Set(rows.flatMap(({ candidates }) => candidates.filter(isOwn).map(({ name }) => name))),
  ];
  const hasLibrary = rows.some(({ candidates }) => candidates.some(isLibrary));
  const rateOf = (candidate) => (candidate ? format(candidate.rate) : '');
  const percent = (candidate) => (candidate ? `${((100 * candidate.rate) / peak).toFixed(0)} %` : '');
  const numbered = (candidate) => candidate && `${rateOf(candidate)} (${libraryChoice(candidate)})`;

  // The library's first choice; its fastest, and its fastest before a kernel of ours, with their numbers; the ratio.
  const libraryCells = (candidates) => {
    const [ours, theirs] = [fastest(candidates.filter(isOwn)), fastest(candidates.filter(isLibrary))];
    return [
      rateOf(candidates.find(({ name }) => name === 'cuBLASLt 1')),
      numbered(fastest(candidates.filter((one) => isLibrary(one) && !isSeparate(one)))) ?? '',
      numbered(fastest(candidates.filter(isSeparate))) ?? '',
      ours && theirs ? (ours.rate / theirs.rate).toFixed(2) : '',
    ];
  };

  const right = [...own, ...(hasLibrary ? LIBRARY : []), 'ours of peak', 'best of peak'];
  return textTable(
    [
      ...['m × n × k', 'product', 'pieces'].map((title) => ({ title })),
      ...right.map((title) => ({ title, align: 'right' })),
    ],
    rows.map((row) => [
      shapeText(row),
      layoutText(row),
      piecesText(row),
      ...own.map((name) => rateOf(row.candidates.find((candidate) => candidate.name === name))),
      ...(hasLibrary ? libraryCells(row.candidates) : []),
      percent(fastest(row.candidates.filter(isOwn))),
      percent(fastest(row.candidates)),
    ]),
  );
}
