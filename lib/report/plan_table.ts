import type { FactorRole } from '../graph/graph';
import type { KernelSource, MatrixProduct, Padding, Precision } from '../native';
import { formatBytes, formatCapacity, formatCount, formatSeconds } from './format';
import { distinctProducts, productCells, PRODUCT_COLUMNS } from './product_text';
import { textTable } from './table';

/** The predicted cost of a training step, computed before anything is allocated; `tesserae plan --json` prints it. */
export interface Plan {
  /** The chip, by its name in the table of chips: 'h100', 'a100', …, 'cpu'. */
  readonly chip: string;
  /** Description of the chip. */
  readonly chipDescription: string;
  /** Precision of matrix products. */
  readonly precision: Precision;
  /** Rows of a micro-batch. */
  readonly rows: number;
  /** Positions of a row along each length axis of the model, by name: `{ time: 1024 }`. */
  readonly lengths: Readonly<Record<string, number>>;
  /** Micro-batches per optimizer step. */
  readonly gradientAccumulationSteps: number;
  /** Hexadecimal hash of the parameters' layout in memory; trainer_state.json of a checkpoint has it too. */
  readonly layoutHash: string;
  /** Size of the model. */
  readonly parameters: {
    /** Number of logical parameters in checkpoints, each counted once. */
    readonly count: number;
    /** Their bytes in fp32. */
    readonly logicalBytes: number;
    /** Their bytes in fp32 with padding. */
    readonly physicalBytes: number;
    /** Bytes of their flat fp32 buffer, in which each starts at a multiple of 1,024 elements. */
    readonly flatBytes: number;
  };
  /** The operations of a micro-batch and then of the update, in the order in which they run. */
  readonly calls: readonly PlannedCall[];
  /** Memory by owner during training; on a GPU in granules of 2 MiB. */
  readonly memory: readonly {
    /** 'parameters', 'gradients', 'workspace', …. */
    readonly owner: string;
    /** 0 if this training has no such owner. */
    readonly bytes: number;
  }[];
  /** Sum over the owners, in bytes. */
  readonly totalBytes: number;
  /** The padding policy and the multiples that axes are padded to, by the role of their factors. */
  readonly paddingPolicy: {
    /** The policy: 'default' or 'chip'. */
    readonly name: Padding;
    /** Multiple of a vocabulary. */
    readonly vocabulary: number;
    /** Multiple of a width. */
    readonly width: number;
    /** Multiple of the size of an attention head. */
    readonly head: number;
    /** Reason for the multiples. */
    readonly why: string;
  };
  /** Axes that are padded. */
  readonly padding: readonly {
    /** Name of the axis. */
    readonly axis: string;
    /** Role of the padded factor of the axis. */
    readonly role: FactorRole;
    /** Extent in the configuration. */
    readonly logical: number;
    /** Extent in memory. */
    readonly physical: number;
    /** Reason for the padding. */
    readonly why: string;
    /** Benefit of the padding. */
    readonly buys: string;
  }[];
  /** Roofline time of an optimizer step, in seconds: no step is faster. */
  readonly stepSeconds: number;
  /** Tokens of a step ÷ stepSeconds. */
  readonly tokensPerSecond: number;
  /** The largest micro-batch that fits. */
  readonly largestBatch: {
    /** Memory that it has to fit, in bytes. */
    readonly memoryBytes: number;
    /** Its number of rows; 0: not even one fits. */
    readonly rows: number;
  };
}

/** One operation call of a plan. */
export interface PlannedCall {
  /** Whether it runs for each micro-batch (`micro`) or once per optimizer step (`update`). */
  readonly section: 'micro' | 'update';
  /** The node of the Graph that it comes from, such as `transformer.h.0.attn.c_attn`. */
  readonly name: string;
  /** The operation: a folder of `native/ops/`. */
  readonly operation: string;
  /** The chosen kernel, if the operation has several or calls a library; '' if it has only one. */
  readonly kernel: string;
  /** Its matrix products on a GPU, in the order in which kernels take them; empty for the CPU. */
  readonly products: readonly PlannedProduct[];
  /** The tensors that it reads. */
  readonly inputs: readonly PlannedTensor[];
  /** The tensors that it writes. */
  readonly outputs: readonly PlannedTensor[];
  /** Floating-point operations of its matrix products; a multiplication and an addition count as two. */
  readonly matrixFlops: number;
  /** Its other floating-point operations. */
  readonly vectorFlops: number;
  /** Memory traffic, in bytes. */
  readonly bytes: number;
  /** Temporary memory while it runs, in bytes. */
  readonly scratchBytes: number;
  /** Roofline time of one call, in seconds: the longer of its arithmetic at the chip's peak rate and its traffic at its bandwidth. */
  readonly seconds: number;
  /** Which of the two takes longer. */
  readonly bound: 'compute' | 'memory';
}

/** A matrix product of a planned call. */
export interface PlannedProduct extends MatrixProduct {
  /**
   * The kernel that computes it: 'sm90 128 × 192' for our kernel for Hopper with tiles of 128 × 192, 'cuBLASLt 3' for the third
   * algorithm that cuBLASLt lists for the product, 'cuBLASLt' for the one that it chooses itself.
   */
  readonly kernel: string;
  /**
   * What chose the kernel: an entry of the cache that `tesserae tune` fills (`cache`) or of the table that this release ships
   * (`shipped`), or the `rule` for products that no entry is near.
   */
  readonly source: KernelSource;
  /** How often the call computes the product; 0 if there is only one panel of rows, which is listed by itself. */
  readonly runs: number;
  /** Seconds of one product as measured, scaled by its size for a near entry; absent if they are not known. */
  readonly expectedSeconds?: number;
  /** Roofline time of one product, in seconds. */
  readonly rooflineSeconds: number;
  /** The kernel of the table's entry, if it can't compute the product here: the rule has chosen another. */
  readonly unavailable?: string;
}

/** A tensor of a planned call. */
export interface PlannedTensor {
  /** Its role in the operation: `x`, `weight`, …. */
  readonly slot: string;
  /** Name of the value. */
  readonly value: string;
  /** Its axes with their extents, logical→physical if they differ: `time 128 × embd 545→552`. */
  readonly shape: string;
  /** Type of its elements: 'float32', 'bfloat16', …. */
  readonly dtype: string;
  /** The owner of its memory. */
  readonly owner: string;
  /** Its bytes with padding. */
  readonly bytes: number;
}

/** Calls that differ only in their block. */
interface CallGroup {
  readonly name: string;
  readonly call: PlannedCall;
  readonly count: number;
}

/**
 * Prints a plan as text tables: the calls with shapes, work, traffic and roofline time, memory by owner, padding, and
 * the largest batch.
 *
 * @param options - `all` lists every call with its inputs; by default the calls of repeated blocks share a row.
 */
export function planText(plan: Plan, { all = false }: { all?: boolean } = {}): string {
  const { parameters, largestBatch, gradientAccumulationSteps: accumulation } = plan;
  const padded = parameters.physicalBytes - parameters.logicalBytes;
  const sections = [
    `${plan.chip} (${plan.chipDescription}) · ${plan.precision} · micro-batch of ${formatCapacity(plan)}` +
      (accumulation > 1 ? `, ${accumulation} per step` : ''),
    `parameters ${formatCount(parameters.count)} (${parameters.count}), ${formatBytes(parameters.logicalBytes)}` +
      (padded > 0 ? `, with padding ${formatBytes(parameters.physicalBytes)}` : ''),
    heading('operations of a micro-batch', callTable(plan, 'micro', all)),
    heading('operations of an update', callTable(plan, 'update', all)),
    heading('matrix products of a micro-batch', productTable(plan)),
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
    call.kernel,
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
      { title: 'kernel' },
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

/** The common name of a call in all blocks: `h.*` for `h.0`, `h.1`, …. */
export const blockName = (name: string): string => name.replace(/\.\d+(?=\.|$)/g, '.*');

/** Groups the calls of repeated blocks (`h.0`, `h.1`, …) that do the same work, in order of first appearance. */
function group(calls: readonly PlannedCall[]): CallGroup[] {
  const groups = new Map<string, CallGroup>();
  for (const call of calls) {
    const name = blockName(call.name);
    const work = [call.kernel, call.matrixFlops, call.vectorFlops, call.bytes, call.seconds, call.bound];
    const key = JSON.stringify([name, call.operation, work, call.outputs.map(({ shape }) => shape)]);
    const known = groups.get(key);
    groups.set(key, known ? { ...known, name, count: known.count + 1 } : { name: call.name, call, count: 1 });
  }
  return [...groups.values()];
}

function productTable({ calls }: Plan): string {
  const products = distinctProducts(calls);
  if (products.length === 0) return '';
  return textTable(
    [
      ...PRODUCT_COLUMNS,
      { title: 'runs', align: 'right' },
      { title: 'kernel' },
      { title: 'chosen by' },
      { title: 'roofline', align: 'right' },
      { title: 'expected', align: 'right' },
      { title: 'of roofline', align: 'right' },
    ],
    products.map(({ product, count }) => {
      const { kernel, source, unavailable, rooflineSeconds, expectedSeconds } = product;
      return [
        ...productCells(product),
        String(count),
        kernel,
        unavailable === undefined ? source : `${source} (no ${unavailable} here)`,
        formatSeconds(rooflineSeconds),
        ...(expectedSeconds === undefined
          ? []
          : [formatSeconds(expectedSeconds), `${((100 * rooflineSeconds) / expectedSeconds).toFixed(0)} %`]),
      ];
    }),
  );
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

function paddingTable({ padding, paddingPolicy }: Plan): string {
  if (padding.length === 0) return '';
  const { name, vocabulary, width, head, why } = paddingPolicy;
  const policy = `policy '${name}': vocabulary to multiples of ${vocabulary}, widths to ${width}, heads to ${head}: ${why}`;
  const table = textTable(
    [{ title: 'axis' }, { title: 'logical→physical' }, { title: 'why' }, { title: 'what it buys' }],
    padding.map(({ axis, logical, physical, why, buys }) => [axis, `${logical}→${physical}`, why, buys]),
  );
  return `${policy}\n\n${table}`;
}
