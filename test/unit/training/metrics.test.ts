import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { eventJsonSchema, metricsJsonSchema } from '../../../lib/cli/write_schema';
import { metricsLine } from '../../../lib/report/metrics_file';
import { RunReport } from '../../../lib/report/run_report';
import type { TrainerEvent } from '../../../lib/training/events';
import { readMetrics } from '../../../lib/training/metrics';
import { Trainer } from '../../../lib/training/trainer';
import { failureOf } from '../support/errors';
import { countingDataset, disposeModels, tinyModel } from '../support/tiny_model';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tesserae-metrics-'));
  file = path.join(folder, 'metrics.jsonl');
});
afterEach(async () => {
  disposeModels();
  await rm(folder, { recursive: true });
});

/** The published schema: a tool sees the file, not our code. */
type Published = { readonly properties: Readonly<Record<string, unknown>> }[];
const schemas = { 'metrics.jsonl': metricsJsonSchema(), events: eventJsonSchema() };
const kindsOf = (schema: object): Published =>
  ('anyOf' in schema ? schema.anyOf : (schema as { oneOf: unknown }).oneOf) as Published;

/** Parses a line by a published schema, which must have all its keys. */
function check(which: keyof typeof schemas, line: string): void {
  const value = JSON.parse(line) as Record<string, unknown>;
  const schema = schemas[which];
  expect(z.fromJSONSchema(schema as never).safeParse(value)).toMatchObject({ success: true });
  const kind = kindsOf(schema).find(
    ({ properties }) => (properties['type'] as { const: string }).const === value['type'],
  );
  expect(Object.keys(kind?.properties ?? {})).toEqual(expect.arrayContaining(Object.keys(value)));
}

async function run(): Promise<TrainerEvent[]> {
  const trainer = new Trainer(await tinyModel(), {
    arguments: { maxSteps: 5, batchSize: 2, evalSteps: 2, saveSteps: 4, loggingSteps: 1, outputDir: folder },
    train: countingDataset(),
    evaluation: countingDataset(),
  });
  const report = await RunReport.create({ directory: folder, maxSteps: 5, progress: false });
  const events: TrainerEvent[] = [];
  for await (const event of trainer) {
    report.add(event);
    events.push(event);
  }
  await report.close();
  return events;
}

it('schemas describe every key that a run reports', async () => {
  const events = await run();
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  expect(new Set(events.map(({ type }) => type))).toEqual(new Set(['step', 'evaluate', 'save', 'end']));
  expect(lines).toHaveLength(events.length);
  for (const line of lines) check('metrics.jsonl', line);
  for (const event of events) check('events', JSON.stringify(event));
});

const warning = { type: 'warning', step: 3, code: 'ERR_CHECKPOINT', message: 'the disk is full' } as const;
const halfPrecision = {
  ...{ type: 'step', step: 3, loss: NaN, gradNorm: Infinity, learningRate: 1e-3, tokensPerSecond: 1e5 },
  ...{ etaSeconds: 2.5, tokens: 300, skippedSteps: 1, lossScale: 32_768 },
} as const;
const nothingDone = {
  type: 'end',
  reason: 'stopped',
  step: 3,
  loss: NaN,
  tokens: 300,
  seconds: 0.5,
} as const;

it.each([warning, halfPrecision, nothingDone])('schemas describe %j', (event) => {
  check('metrics.jsonl', metricsLine(event));
  check('events', JSON.stringify(event));
});

it('schemas refuse what no run reports', () => {
  for (const [which, line] of [
    ['metrics.jsonl', { type: 'step', step: 1 }],
    ['metrics.jsonl', { ...warning, type: 'warn' }],
    ['metrics.jsonl', JSON.parse(metricsLine({ ...halfPrecision, step: -1 }))],
    ['events', JSON.parse(metricsLine(halfPrecision))],
  ] as const)
    expect(z.fromJSONSchema(schemas[which] as never).safeParse(line)).toMatchObject({ success: false });
});

it('are read as written, without an incomplete last line', async () => {
  const events = await run();
  const lines = await readMetrics(file);
  expect(lines.map(({ type, step }) => [type, step])).toEqual(events.map(({ type, step }) => [type, step]));
  const [told] = events;
  const [first] = lines;
  if (first?.type !== 'step' || told?.type !== 'step') throw new Error('the first line is of a step');
  expect([first.loss, first.grad_norm, first.skipped_steps]).toEqual([told.loss, told.gradNorm, 0]);

  const text = await readFile(file, 'utf8');
  await writeFile(file, text.slice(0, -5));
  expect(await readMetrics(file)).toEqual(lines.slice(0, -1));
  await writeFile(file, `${text}{"type":"of a later release"}\n`);
  expect(await readMetrics(file)).toEqual(lines);
  await writeFile(file, '');
  expect(await readMetrics(file)).toEqual([]);
});

it.each(['loss: 1', '{"type":"step","step":1}', '[]', 'null', '{}'])('refuse a line of %s', async (line) => {
  await writeFile(file, `${metricsLine(warning)}${line}\n`);
  const { message, details } = await failureOf('ERR_DATA', () => readMetrics(file));
  expect(message).toContain(`line 2 of '${file}'`);
  expect(details).toEqual({ path: file, line: 2 });
});

it('refuse a missing file', async () => {
  const { message, details } = await failureOf('ERR_DATA', () => readMetrics(folder + '/none'));
  expect(message).toMatch(/none' can't be read: .*ENOENT/);
  expect(details).toEqual({ path: folder + '/none' });
});
