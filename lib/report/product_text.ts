/** Matrix products as people read them. */
import type { MatrixProduct } from '../native';
import type { PlannedCall, PlannedProduct } from './plan_table';
import type { Column } from './table';

const SYMBOLS = { forward: 'x Wᵀ', inputGradient: 'dy W', weightGradient: 'dyᵀ x' } as const;

const NAMES: Readonly<Record<string, string>> = {
  keepInput: 'keeps input',
  columnSums: 'column sums',
  rowScale: 'row scale',
};

/** `65536 × 768 × 768`. */
export const shapeText = ({ m, n, k }: MatrixProduct): string => `${m} × ${n} × ${k}`;

/** `x Wᵀ`, `dy W` or `dyᵀ x`. */
export const layoutText = ({ layout }: MatrixProduct): string => SYMBOLS[layout];

/** What is fused into the product: `bias, keeps input, gelu_new`. */
export const piecesText = ({ pieces }: MatrixProduct): string =>
  pieces
    .map(({ kind, function: name }) => {
      if (kind === 'activation') return name ?? kind;
      return kind === 'slope' ? `slope of ${name ?? ''}` : (NAMES[kind] ?? kind);
    })
    .join(', ');

/** The columns that describe a product, before those that a table adds. */
export const PRODUCT_COLUMNS: readonly Column[] = [
  { title: 'm × n × k' },
  { title: 'product' },
  { title: 'pieces' },
];

export const productCells = (product: MatrixProduct): string[] => [
  shapeText(product),
  layoutText(product),
  piecesText(product),
];

/** Equal for products of the same kind, extents and pieces. */
export const productKey = ({ layout, m, n, k, pieces, result }: MatrixProduct): string =>
  JSON.stringify([layout, m, n, k, pieces.map(({ kind, function: name }) => [kind, name]), result]);

/** Each product of some calls once, with how often it is computed. Products that never are, are left out. */
export function distinctProducts(
  calls: readonly PlannedCall[],
): { readonly product: PlannedProduct; readonly count: number }[] {
  const found = new Map<string, { product: PlannedProduct; count: number }>();
  for (const product of calls.flatMap(({ products }) => products)) {
    if (product.runs === 0) continue;
    const key = productKey(product);
    const count = (found.get(key)?.count ?? 0) + product.runs;
    found.set(key, { product, count });
  }
  return [...found.values()];
}
