// The matrix products of a training step, as the compiler plans them for a GPU.
import { buildGraph } from '../../dist/models/families.js';
import { plan } from '../../dist/native.js';

/** Extents of products that show a device's peak: (8192 × 8192) (8192 × 8192), smaller on the CPU. */
const CUBE = { cuda: 8192, cpu: 768 };
/** Floating-point operations of a product on the CPU: its rows are cut down to that, but not below CPU_ROWS. */
const CPU_FLOPS = 1e9;
const CPU_ROWS = 16;

const LAYOUTS = ['forward', 'inputGradient', 'weightGradient'];

/** The extent that counts positions; the other two are those of the weight. */
const rowsOf = ({ layout }) => (layout === 'weightGradient' ? 'k' : 'm');

const keyOf = ({ layout, m, n, k, pieces, result, accumulate }) =>
  JSON.stringify([layout, m, n, k, pieces, result, accumulate]);

const unique = (products) => [...new Map(products.map((one) => [keyOf(one), one])).values()];

/** Every product of the plan of a step, with the name of its call. */
function planned(graph, request) {
  return plan(graph, request).calls.flatMap(({ name, products }) =>
    products.map(({ layout, m, n, k, pieces, result }) => ({ name, layout, m, n, k, pieces, result })),
  );
}

/** The same product without what only our kernels for Hopper fuse. */
const withCommonPieces = (product) => ({
  ...product,
  pieces: product.pieces.filter(({ kind }) => !['columnSums', 'rowScale', 'exponentials'].includes(kind)),
});

/** The same product for the CPU, with another number of rows, few enough for it. */
function forCpu(given) {
  const product = withCommonPieces(given);
  const rows = rowsOf(product);
  const rowFlops = (2 * product.m * product.n * product.k) / product[rows];
  const fitting = Math.floor(CPU_FLOPS / rowFlops / 8) * 8;
  return { ...product, [rows]: Math.min(product[rows], Math.max(CPU_ROWS, fitting)) };
}

/**
 * The distinct products of a training step and a cube in each layout. A product whose weight is padded is followed by the same
 * product without padding, and the gradient of a weight by the one that adds to what is there.
 *
 * @param {object} config of the model
 * @param {{ kind: 'cuda' | 'cpu', chip: string, precision: string, rows: number, lengths: Record<string, number> }} options
 */
export function trainingProducts(config, { kind, ...request }) {
  const graph = buildGraph(config);
  const padded = planned(graph, request);
  const exact = planned(graph, { ...request, padding: { vocabulary: 1, width: 1, head: 1 } });
  if (exact.length !== padded.length) throw new Error('padding changes the products of the model');
  const result = padded.find(({ layout }) => layout === 'forward').result;
  const cubes = LAYOUTS.map((layout) => ({
    name: 'cube',
    layout,
    ...Object.fromEntries(['m', 'n', 'k'].map((extent) => [extent, CUBE[kind]])),
    pieces: [],
    result: layout === 'weightGradient' ? 'float32' : result,
  }));
  const products = padded.flatMap((product, i) => {
    const rows = rowsOf(product);
    // The plan without padding may cut its rows into other panels, and fuse less.
    const unpadded = {
      ...withCommonPieces(product),
      ...extents(exact[i]),
      [rows]: product[rows],
      unpadded: true,
    };
    const isPadded = ['m', 'n', 'k'].some((extent) => unpadded[extent] !== product[extent]);
    const both = isPadded ? [product, unpadded] : [product];
    return product.layout === 'weightGradient'
      ? both.flatMap((one) => [one, { ...one, accumulate: true }])
      : both;
  });
  return unique([...cubes, ...products].map(kind === 'cpu' ? forCpu : (product) => product));
}

const extents = ({ m, n, k }) => ({ m, n, k });
