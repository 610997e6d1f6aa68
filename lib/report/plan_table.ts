import { formatBytes, formatCount, formatSeconds } from './format';
import { textTable } from './table';

/** What a training step does, as the native compiler tells it before anything is allocated. */
export interface Plan {
  readonly chip: string;
  /** What the chip is, in words. */
  readonly chipDescription: string;
  readonly precision: string;
  /** Rows and positions of a micro-batch. */
  readonly rows: number;
  readonly time: number;
  readonly gradientAccumulationSteps: number;
  readonly parameters: {
    /** Logical parameters. */
    readonly count: number;
    readonly logicalBytes: number;
    /** With padding. */
    readonly physicalBytes: number;
  };
  readonly calls: readonly PlannedCall[];
  readonly memory: readonly { readonly owner: string; readonly bytes: number }[];
  readonly totalBytes: number;
  readonly padding: readonly {
    readonly axis: string;
    readonly logical: number;
    readonly physical: number;
    readonly why: string;
    readonly buys: string;
  }[];
  /** Roofline time of an optimizer step. */
  readonly stepSeconds: number;
  readonly tokensPerSecond: number;
  /** The most rows of a micro-batch that fit the memory. */
  readonly largestBatch: { readonly memoryBytes: number; readonly rows: number };
}

/** One operation call of a plan; `section` says whether it runs for each micro-batch or once a step. */
export interface PlannedCall {
  readonly section: 'micro' | 'update';
  readonly name: string;
  readonly operation: string;
  readonly inputs: readonly PlannedTensor[];
  readonly outputs: readonly PlannedTensor[];
  /** Floating-point operations of matrix products, and all others. */
  readonly matrixFlops: number;
  readonly vectorFlops: number;
  /** Memory traffic. */
  readonly bytes: number;
  /** Roofline time. */
  readonly seconds: number;
  readonly bound: 'compute' | 'memory';
}

/** A tensor of a call; `shape` is text with physical extents where they differ, such as `time 128 × embd 545→552`. */
export interface PlannedTensor {
  readonly slot: string;
  readonly shape: string;
  readonly dtype: string;
  readonly bytes: number;
}

/** Calls that differ only in the block they belong to. */
interface CallGroup {
  readonly name: string;
  readonly call: PlannedCall;
  readonly count: number;
}

/**
 * Prints a plan as text tables: the calls with shapes, work, traffic and roofline time, memory by owner, padding, and
 * the largest batch.
 *
 * @param options - `all` lists every call with its inputs; otherwise the calls of repeated blocks share a row.
 */
export function planText(plan: Plan, { all = false }: { all?: boolean } = {}): string {
  const { parameters, largestBatch, gradientAccumulationSteps: accumulation } = plan;
  const padded = parameters.physicalBytes - parameters.logicalBytes;
  const sections = [
    `${plan.chip} (${plan.chipDescription}) · ${plan.precision} · micro-batch of ${plan.rows} × ${plan.time} positions` +
      (accumulation > 1 ? `, ${accumulation} of them a step` : ''),
    `parameters ${formatCount(parameters.count)} (${parameters.count}), ${formatBytes(parameters.logicalBytes)}` +
      (padded > 0 ? `, with padding ${formatBytes(parameters.physicalBytes)}` : ''),
    heading('operations of a micro-batch', callTable(plan, 'micro', all)),
    heading('operations of an update', callTable(plan, 'update', all)),
    heading('memory', memoryTable(plan)),
    heading('padding', paddingTable(plan)),
    `roofline time of a step ${formatSeconds(plan.stepSeconds)}, ${formatCount(plan.tokensPerSecond)} tokens/s`,
    `largest micro-batch in ${formatBytes(largestBatch.memoryBytes)}: ` +
      (largestBatch.rows > 0 ? `${largestBatch.rows} rows` : 'not even one row fits'),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

const heading = (title: string, table: string): string => (table === '' ? '' : `${title}\n\n${table}`);

function callTable(plan: Plan, section: PlannedCall['section'], all: boolean): string {
  const calls = plan.calls.filter((call) => call.section === section);
  if (calls.length === 0) return '';
  const groups = all ? calls.map((call) => ({ name: call.name, call, count: 1 })) : group(calls);
  const total = (of: (call: PlannedCall) => number): number => calls.reduce((sum, call) => sum + of(call), 0);
  const flops = (call: PlannedCall): number => call.matrixFlops + call.vectorFlops;
  const seconds = total((call) => call.seconds);
  const share = (part: number): string => (seconds > 0 ? `${((100 * part) / seconds).toFixed(1)} %` : '-');
  const rows = groups.map(({ name, call, count }) => [
    name,
    call.operation,
    String(count),
    formatCount(count * flops(call)),
    formatBytes(count * call.bytes),
    formatSeconds(count * call.seconds),
    share(count * call.seconds),
    call.bound,
    shapes(call, all),
  ]);
  return textTable(
    [
      { title: 'name' },
      { title: 'operation' },
      { title: 'calls', align: 'right' },
      { title: 'FLOP', align: 'right' },
      { title: 'traffic', align: 'right' },
      { title: 'time', align: 'right' },
      { title: 'share', align: 'right' },
      { title: 'bound by' },
      { title: all ? 'inputs → outputs (logical→physical)' : 'output (logical→physical)' },
    ],
    rows,
    [
      'total',
      '',
      String(calls.length),
      formatCount(total(flops)),
      formatBytes(total((call) => call.bytes)),
      formatSeconds(seconds),
      share(seconds),
    ],
  );
}

function shapes(call: PlannedCall, all: boolean): string {
  const show = ({ slot, shape, dtype }: PlannedTensor): string => `${slot} [${shape}] ${dtype}`;
  const [first] = call.outputs;
  if (!all) return first ? `[${first.shape}] ${first.dtype}` : '';
  return `${call.inputs.map(show).join(', ')} → ${call.outputs.map(show).join(', ')}`;
}

/** The name that a call shares with those of the other blocks: `h.*` for `h.0`, `h.1`, …. */
export const blockName = (name: string): string => name.replace(/\.\d+(?=\.|$)/g, '.*');

/** Joins the calls of repeated blocks (`h.0`, `h.1`, …) that do the same work, in the order of the first of each. */
function group(calls: readonly PlannedCall[]): CallGroup[] {
  const groups = new Map<string, CallGroup>();
  for (const call of calls) {
    const name = blockName(call.name);
    const work = [call.matrixFlops, call.vectorFlops, call.bytes, call.seconds, call.bound];
    const key = JSON.stringify([name, call.operation, work, call.outputs.map(({ shape }) => shape)]);
    const known = groups.get(key);
    groups.set(key, known ? { ...known, name, count: known.count + 1 } : { name: call.name, call, count: 1 });
  }
  return [...groups.values()];
}

function memoryTable({ memory, totalBytes }: Plan): string {
  const share = (bytes: number): string =>
    totalBytes > 0 ? `${((100 * bytes) / totalBytes).toFixed(1)} %` : '-';
  return textTable(
    [{ title: 'owner' }, { title: 'bytes', align: 'right' }, { title: 'share', align: 'right' }],
    memory
      .filter(({ bytes }) => bytes > 0)
      .map(({ owner, bytes }) => [owner, formatBytes(bytes), share(bytes)]),
    ['total', formatBytes(totalBytes), share(totalBytes)],
  );
}

function paddingTable({ padding }: Plan): string {
  if (padding.length === 0) return '';
  return textTable(
    [{ title: 'axis' }, { title: 'logical→physical' }, { title: 'why' }, { title: 'what it buys' }],
    padding.map(({ axis, logical, physical, why, buys }) => [axis, `${logical}→${physical}`, why, buys]),
  );
}
