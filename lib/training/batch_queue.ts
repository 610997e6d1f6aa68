import type { Dataset, DatasetBatch } from '../data/dataset';
import { isExamples } from '../models/example_rows';
import { isPacked } from '../models/packed_batch';

export interface BatchQueueOptions {
  readonly seed: number;
  readonly rows: number;
  readonly microSteps: number;
  /** Number of steps of the run; no batches are drawn after them. */
  readonly maxSteps: number;
}

/** Hands out the batches of each step, and starts drawing those of the next step. */
export class BatchQueue {
  private readonly drawn = new Map<number, Promise<DatasetBatch[]>>();

  constructor(
    private readonly dataset: Dataset,
    private readonly options: BatchQueueOptions,
  ) {}

  async take(step: number): Promise<DatasetBatch[]> {
    const batches = this.draw(step);
    this.drawn.delete(step);
    if (step + 1 < this.options.maxSteps) this.drawn.set(step + 1, this.draw(step + 1));
    return batches;
  }

  private draw(step: number): Promise<DatasetBatch[]> {
    const already = this.drawn.get(step);
    if (already) return already;
    const { seed, rows, microSteps } = this.options;
    const batches = Promise.all(
      Array.from({ length: microSteps }, (_, microStep) =>
        this.dataset.batch({ seed, step, microStep, microSteps, rows }),
      ),
    ).then((drawn) => drawn.filter((batch) => !isEmpty(batch)));
    // A run may end before it takes them; whoever takes them sees the failure.
    batches.catch(() => undefined);
    return batches;
  }
}

function isEmpty(batch: DatasetBatch): boolean {
  if (isPacked(batch)) return batch.rows === 0;
  const [rows] = isExamples(batch) ? Object.values(batch.examples) : [batch.tokens];
  return rows?.length === 0;
}
