// Memory-bound operations, each in its own Graph, compared with the same functions under torch.compile. Bandwidth counts the
// fewest bytes that the operation must move, by its contract. A sample is one training step, run call by call; the device times
// each call.
import { GraphBuilder, normal, ones, vocabulary, width, zeros } from '../dist/graph/builder.js';
import { NativeModel, plan } from '../dist/native.js';
import { machine, peer } from './lib/measure.mjs';

/** Bytes per second of a copy on an H200, reads plus writes; shares are relative to it. */
const COPY_BANDWIDTH = 4.25e12;
/** Smaller tensors fit in the L2 cache, and launches would take a large part of the time. */
const LEAST_BYTES = 64e6;
const WARMUP = 3;
const VOCABULARY = 50257;

const precision = 'bf16';

// Norms of a value and of a sum, GELU in both forms, sums, dropout, both embeddings: (128, 1024, 768), 201 MB.
function features() {
  const capacity = { rows: 128, lengths: { time: 1024 } };
  const g = new GraphBuilder('features');
  const axis = g.axis('embd', width(768));
  const table = (name, size) =>
    g.parameter(`${name}.weight`, [g.axis(name, vocabulary(size)), axis], normal(1), { decay: true });
  const norm = (name, x) =>
    g.node(
      'layer_norm',
      name,
      {
        x,
        weight: g.parameter(`${name}.weight`, [axis], ones),
        bias: g.parameter(`${name}.bias`, [axis], zeros),
      },
      { epsilon: 1e-5 },
    );
  const positions = ['batch', g.lengthAxis('time')];
  const ids = g.input('tokens', positions, { kind: 'ids', below: VOCABULARY });
  const targets = g.input('targets', positions, { kind: 'ids', below: 768 });
  const looked = g.node('embedding', 'wte', { ids, weight: table('wte', VOCABULARY) });
  const placed = g.node('position_embedding', 'wpe', {
    x: looked,
    weight: table('wpe', capacity.lengths.time),
  });
  const x = g.node('dropout', 'dropout', { x: placed }, { p: 0.1 });
  const tanhForm = g.node('activation', 'gelu_new', { x: norm('norm', x) }, { function: 'gelu_new' });
  const erfForm = g.node('activation', 'gelu', { x: tanhForm }, { function: 'gelu' });
  const sum = g.node('add', 'add', { a: tanhForm, b: erfForm });
  const dropped = g.node('dropout', 'branch', { x: sum }, { p: 0.1 });
  const residual = norm('norm_of_sum', g.node('add', 'residual', { a: dropped, b: x }));
  const logits = g.node('activation', 'silu', { x: residual }, { function: 'silu' });
  return { capacity, graph: g.build({ loss: g.node('cross_entropy', 'short_rows', { logits, targets }) }) };
}

// Logits of GPT-2's vocabulary, looked up where a model would multiply: (8, 1024, 50257), 824 MB.
function losses() {
  const capacity = { rows: 8, lengths: { time: 1024 } };
  const g = new GraphBuilder('losses');
  const rows = 1024;
  const positions = ['batch', g.lengthAxis('time')];
  const ids = g.input('tokens', positions, { kind: 'ids', below: rows });
  const targets = g.input('targets', positions, { kind: 'ids', below: VOCABULARY });
  const axes = [g.axis('rows', vocabulary(rows)), g.axis('vocab', vocabulary(VOCABULARY))];
  const logits = g.node('embedding', 'table', { ids, weight: g.parameter('table.weight', axes, normal(1)) });
  return { capacity, graph: g.build({ loss: g.node('cross_entropy', 'long_rows', { logits, targets }) }) };
}

// What PyTorch computes under the same name (peers/operations.py), by call and operation.
const names = {
  'norm layer_norm': 'layer_norm',
  'd(norm) layer_norm_backward': 'layer_norm backward, gradient around it added',
  'norm_of_sum layer_norm': 'layer_norm of a sum',
  'd(norm_of_sum) layer_norm_backward': 'layer_norm backward',
  'gelu_new activation': 'GELU (tanh)',
  'd(gelu_new) activation_backward': 'GELU (tanh) backward',
  'gelu activation': 'GELU (erf)',
  'd(gelu) activation_backward': 'GELU (erf) backward',
  'add add': 'add',
  'dropout dropout': 'dropout',
  'wte embedding': 'embedding',
  'd(wte) embedding_backward': 'embedding backward',
  'wpe position_embedding': 'position_embedding',
  'd(wpe) position_embedding_backward': 'position_embedding backward',
  'short_rows cross_entropy': 'cross_entropy, 768 classes',
  'd(short_rows) cross_entropy_backward': 'cross_entropy backward, 768 classes',
  'long_rows cross_entropy': 'cross_entropy, 50,257 classes',
  'd(long_rows) cross_entropy_backward': 'cross_entropy backward, 50,257 classes',
  'features gradient_norm': 'gradient_norm',
  'features adamw': 'AdamW',
};

const random = (graph, { rows, lengths: { time } }) =>
  Object.fromEntries(
    graph.inputs.map(({ name, below }) => [
      name,
      Int32Array.from({ length: rows * time }, () => Math.floor(Math.random() * below)),
    ]),
  );

/** A subject whose samples are seconds by name. */
async function tesserae({ graph, capacity }) {
  const planned = plan(graph, { chip: 'h100', precision, ...capacity }).calls;
  const nameOf = ({ section, name, operation }) =>
    names[`${section === 'update' ? graph.name : name} ${operation}`];
  const bytes = new Map(planned.map((call) => [nameOf(call), call.bytes]));
  const model = await NativeModel.create(graph, { device: 'cuda:0', precision, seed: 1 });
  await model.configureTraining({
    optimizer: { type: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 },
    maxGradNorm: 1,
    labelSmoothing: 0,
    learningRates: Float32Array.of(1e-4),
  });
  const batch = random(graph, capacity);
  return {
    bytes,
    async sample() {
      const { timings } = await model.profileStep(capacity, [batch]);
      return Object.fromEntries(
        timings.map(({ section, call, operation, seconds }) => [
          nameOf({ section, name: call, operation }),
          seconds,
        ]),
      );
    },
    close: () => model.dispose(),
  };
}

async function sampled(subjects, samples) {
  const seconds = subjects.map(() => new Map());
  for (let i = 0; i < WARMUP + samples; i++) {
    for (const [index, subject] of subjects.entries()) {
      const taken = Object.entries(await subject.sample());
      for (const [name, value] of i < WARMUP ? [] : taken) {
        seconds[index].set(name, [...(seconds[index].get(name) ?? []), value]);
      }
    }
  }
  for (const subject of subjects) subject.close();
  return seconds;
}

const quantile = (values, share) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))];

export async function run({ python, samples }) {
  const script = new URL('./peers/operations.py', import.meta.url).pathname;
  const theirs = await peer(python, [script]).catch(() => undefined);
  if (!theirs) console.error('operations: PyTorch did not start');
  const rows = [];
  for (const [index, subject] of [features(), losses()].entries()) {
    const own = await tesserae(subject);
    // PyTorch samples all of its functions at a time: once is enough.
    const [measured, peers] = await sampled([own, ...(theirs && index === 0 ? [theirs] : [])], samples);
    for (const [name, values] of peers ?? []) rows.push({ name, peerSeconds: quantile(values, 0.5) });
    for (const [name, values] of measured) {
      const bytes = own.bytes.get(name);
      if (!name || !(bytes >= LEAST_BYTES)) continue;
      const seconds = quantile(values, 0.5);
      const row = rows.find((one) => one.name === name);
      const figures = {
        bytes,
        seconds,
        low: quantile(values, 0.1),
        high: quantile(values, 0.9),
        samples: values.length,
        share: bytes / seconds / COPY_BANDWIDTH,
      };
      if (row) Object.assign(row, figures);
      else rows.push({ name, ...figures });
    }
  }
  return {
    kind: 'bandwidth',
    suite: 'operations',
    title: 'Operations bound by memory on one GPU, bf16',
    work: `Features (128, 1024, 768), logits (8, 1024, 50257); shares are of the ${COPY_BANDWIDTH / 1e12} TB/s of a copy, for one read of each input and one write of each output`,
    machine: machine('cuda'),
    peer: theirs?.name,
    precision,
    rows: rows.filter(({ seconds }) => seconds !== undefined),
  };
}
