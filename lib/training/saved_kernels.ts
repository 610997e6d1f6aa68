/** The kernels of matrix products in checkpoints: which one computes a product decides the last bits of its result. */
import type { TrainerState } from '../checkpoint/trainer_state';
import type { Model } from '../models/model';
import type { SavedProduct } from '../products/entry';
import { layoutText, shapeText } from '../report/product_text';
import type { WarningEvent } from './events';

/** Most products that a message names. */
const MOST_NAMED = 3;

/** A warning if the cache of tuned kernels can't be read: training then goes on without it. */
export function kernelWarnings({ cacheProblem }: Model, step: number): WarningEvent[] {
  if (!cacheProblem) return [];
  const { code, message } = cacheProblem;
  return [{ type: 'warning', step, code, message: `${message}. Training goes on without it` }];
}

/** The kernels that a model has used, for its checkpoint; undefined on the CPU, where no product has a choice. */
export async function kernelsOf(model: Model): Promise<TrainerState['products']> {
  const { products, library } = await model.native.products();
  if (products.length === 0) return undefined;
  const kernels = products.map(({ source: _, ...product }) => product as SavedProduct);
  return { ...(library === undefined ? {} : { library }), kernels };
}

/**
 * Makes a model use the kernels of a checkpoint, where they exist here. With another precision there is nothing to use again.
 *
 * @returns a line that names those that can't be used, if there are any.
 */
export async function restoreKernels(
  model: Model,
  { products, precision }: Pick<TrainerState, 'products' | 'precision'>,
): Promise<string[]> {
  const { library, kernels } = (precision === model.precision ? products : undefined) ?? { kernels: [] };
  const lost = await model.native.restoreProducts(
    kernels.map((product) => ({
      ...product,
      precision: model.precision,
      source: 'checkpoint',
      ...(library === undefined ? {} : { library }),
    })),
  );
  if (lost.length === 0) return [];
  const names = lost
    .slice(0, MOST_NAMED)
    .map((product) => `${product.kernel} for ${layoutText(product)} of ${shapeText(product)}`);
  const more = lost.length > MOST_NAMED ? ` and ${lost.length - MOST_NAMED} more` : '';
  return [`kernels of its matrix products can't be used here: ${names.join(', ')}${more}`];
}
