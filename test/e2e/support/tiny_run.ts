import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const PROGRAM = path.resolve(__dirname, '../../../dist/cli/main.js');

/** A line of metrics.jsonl, or of standard output. */
export type Event = Record<string, unknown>;

/** A new folder with a text and configurations by name, `run` among them: a model of a few thousand parameters with dropout, and accumulation. */
export function tinyRun(
  training: Record<string, unknown>,
  others: Record<string, Record<string, unknown>> = {},
): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'run-'));
  writeFileSync(
    path.join(folder, 'book.txt'),
    'the cat sat on the mat and the dog lay on the log. '.repeat(40),
  );
  for (const [name, changed] of Object.entries({ run: {}, ...others }))
    writeFileSync(
      path.join(folder, `${name}.json`),
      JSON.stringify({
        model: {
          type: 'gpt2',
          nPositions: 16,
          nEmbd: 16,
          nLayer: 1,
          nHead: 2,
          residPdrop: 0.1,
          attnPdrop: 0.1,
        },
        data: { text: 'book.txt' },
        training: {
          batchSize: 2,
          gradientAccumulationSteps: 2,
          learningRate: 1e-2,
          warmupSteps: 5,
          loggingSteps: 3,
          evalSteps: 10,
          evalBatches: 2,
          ...training,
          ...changed,
        },
      }),
    );
  return folder;
}

/** Arguments of node that train it into a folder. */
export const command = (output: string, config = 'run.json'): string[] => [
  ...[PROGRAM, 'train', config, '--json', '--device', 'cpu', '--threads', '1', '--output-dir', output],
];

/** Lines of JSON; one that is not whole is left out. */
export const records = (text: string): Event[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Event);

/** The output of a run of this many steps, without times, folder names and the times of saves. */
export function left(folder: string, output: string, step: number): unknown {
  const last = path.join(folder, output, `checkpoint-${step}`);
  const { files } = JSON.parse(readFileSync(path.join(last, 'manifest.json'), 'utf8')) as {
    files: Record<string, unknown>;
  };
  const { 'trainer_state.json': _, ...tensors } = files;
  const { arguments: given, ...state } = JSON.parse(
    readFileSync(path.join(last, 'trainer_state.json'), 'utf8'),
  ) as { arguments: object };
  const timed = ['path', 'checkpoint', 'seconds', 'loss', 'tokens_per_second', 'eta_seconds'];
  return {
    tensors,
    state,
    arguments: { ...given, outputDir: '', saveSteps: 0, saveTotalLimit: 0 },
    metrics: records(readFileSync(path.join(folder, output, 'metrics.jsonl'), 'utf8'))
      .filter(({ type }) => type !== 'save')
      .map((event) =>
        Object.fromEntries(
          // The `end` event has the loss of the last report of its own process.
          Object.entries(event).filter(
            ([name]) => !timed.includes(name) || (name === 'loss' && event['type'] !== 'end'),
          ),
        ),
      ),
  };
}
