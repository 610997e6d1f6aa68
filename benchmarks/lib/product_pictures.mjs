// The pictures of docs/matrix_products.md, drawn from the lines that benchmarks/report.mjs takes in.
import { alignmentChart } from './alignment_chart.mjs';
import { gemmChart } from './gemm_chart.mjs';
import { unitOf } from './gemm_measure.mjs';

const { format } = unitOf('cuda');

/** File names in docs/images and SVG text: of an alignment result, and of each run of products with its result. */
export function productPictures({ alignment, runs }) {
  const pictures = runs.map(({ run, products, result }) => [
    `${result.suite}.svg`,
    gemmChart(products, {
      title: result.title,
      note: `${result.work}; ${result.machine.name}`,
      peak: run.peak,
      format,
    }),
  ]);
  if (alignment) {
    const { rows, title, work, machine } = alignment;
    pictures.push([
      'alignment.svg',
      alignmentChart(rows, { title, note: `${work}; ${machine.name}`, format }),
    ]);
  }
  return Object.fromEntries(pictures);
}
