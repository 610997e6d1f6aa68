/**
 * Trains a tiny model on a device and prints the result as one JSON line. `tesserae doctor` runs it in a separate process, so
 * that it can still report if a broken driver crashes that one.
 */
import { messageOf } from '../errors';
import { Model } from '../models/model';
import type { Device } from '../models/device';
import { Trainer } from '../training/trainer';
import { print, printJson } from './terminal';

/** What a self-test prints when it succeeds. */
export interface SelfTestResult {
  readonly device: string;
  readonly precision: string;
  /** Instruction set of the CPU kernels. */
  readonly isa: string;
  readonly steps: number;
  /** Loss of the first step; the last one must be lower. */
  readonly firstLoss: number;
  readonly lastLoss: number;
  readonly seconds: number;
}

const STEPS = 30;
const ROWS = 4;
const TIME = 32;

async function selfTest(device: Device): Promise<SelfTestResult> {
  using model = await Model.create(
    { type: 'gpt2', nLayer: 2, nEmbd: 64, nHead: 2, nPositions: TIME, vocabSize: 64 },
    { device, threads: 2 },
  );
  // Each row counts up from a different token, which a model learns quickly.
  const tokens = Array.from({ length: ROWS }, (_, r) =>
    Int32Array.from({ length: TIME }, (_, t) => (16 * r + t) % 64),
  );
  const trainer = new Trainer(model, {
    arguments: { maxSteps: STEPS, batchSize: ROWS, learningRate: 3e-3 },
  });
  const losses: number[] = [];
  const started = performance.now();
  for (let i = 0; i < STEPS; i++) losses.push((await trainer.step({ tokens })).loss);
  return {
    device: model.device,
    precision: model.precision,
    isa: model.native.info.isa,
    steps: STEPS,
    firstLoss: losses[0] ?? NaN,
    lastLoss: losses.at(-1) ?? NaN,
    seconds: (performance.now() - started) / 1e3,
  };
}

if (require.main === module) {
  selfTest((process.argv[2] ?? 'cpu') as Device).then(
    (result) => printJson(result),
    (error: unknown) => {
      print(`${messageOf(error)}\n`, process.stderr);
      process.exitCode = 1;
    },
  );
}
