import type { TrainerEvent } from '../../../lib/training/events';
import type { Trainer } from '../../../lib/training/trainer';

/**
 * Trains, up to a checkpoint if one is given. Returns the events without measured times, those of checkpoints last, because
 * the disk decides when one is reported.
 */
export async function eventsOf(one: Trainer, last = Infinity): Promise<object[]> {
  const events: TrainerEvent[] = [];
  for await (const event of one) {
    events.push(event);
    if (event.type === 'save' && event.step >= last) break;
  }
  const isSave = ({ type }: TrainerEvent): boolean => type === 'save';
  return [...events.filter((event) => !isSave(event)), ...events.filter(isSave)].map(timeless);
}

function timeless(event: TrainerEvent): object {
  return Object.fromEntries(
    Object.entries(event).filter(
      ([name]) => !['tokensPerSecond', 'etaSeconds', 'seconds', 'path', 'checkpoint'].includes(name),
    ),
  );
}

/** Every bit of parameters, moments and counters. */
export async function bitsOf({ model: { native } }: Trainer): Promise<unknown> {
  const tensors: [string, string][] = [];
  for (const { name } of native.info.parameters)
    for (const kind of ['parameter', 'moment1', 'moment2'] as const) {
      const values = await native.readTensor(kind, name);
      tensors.push([`${kind} ${name}`, Buffer.from(values.buffer).toString('base64')]);
    }
  return { tensors, counters: await native.counters(), scaler: await native.scaler() };
}
