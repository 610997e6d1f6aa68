import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { Command, Option } from 'commander';
import { writeDirectory } from '../checkpoint/atomic_directory';
import {
  PREPARED_FILES,
  prepareTokens,
  type PreparedTokens,
  type PrepareOptions,
} from '../data/prepare/prepare';
import { TRAIN_FILE } from '../data/tokens';
import { readDescription, TOKEN_DTYPES, TOKEN_FORMATS, type TokenDescription } from '../data/tokens/format';
import { TesseraeError } from '../errors';
import { AmountProgress, bytesText } from '../report/amount_progress';
import { formatCount, formatDuration, formatSeconds } from '../report/format';
import { Interrupt } from './interrupt';
import { fraction, integer, jsonOption, type Done } from './options';
import { labelled, print, printJson, shownPath } from './terminal';

export const prepareCommand = (done: Done): Command =>
  new Command('prepare')
    .summary('turn texts into token files')
    .description(
      'Tokenizes text files (.txt, .text, .md), JSON lines (.jsonl, .ndjson; one document per line), folders of these, and ' +
        'JSON files (.json: an array of objects, or JSON lines). Writes a folder with train.bin and val.bin, for ' +
        "data.tokens of a configuration. The tokenizer's end-of-text token, if it has one, follows each document. The folder " +
        'appears as a whole or not at all; an existing one is replaced only if it was made from the same inputs.',
    )
    .argument('<inputs...>', 'text files, files of JSON lines, and folders')
    .requiredOption('--output <folder>', 'the folder to write')
    .option(
      '--tokenizer <byte or file>',
      'byte, a tokenizer.json, a vocab.json with a merges.txt next to it, or a folder with either',
      'byte',
    )
    .option(
      '--end-of-text <token>',
      'text or id of the token after each document (default: from the tokenizer files)',
    )
    .option(
      '--start-token <token>',
      'text or id of the token that begins a sampled text (default: from the tokenizer files)',
    )
    .addOption(
      new Option('--format <layout>', 'layout of the files: nanogpt has only ids, llmc also a header')
        .choices(TOKEN_FORMATS)
        .default('nanogpt'),
    )
    .addOption(
      new Option('--dtype <type>', 'type of an id (default: uint16 if the vocabulary fits)').choices(
        TOKEN_DTYPES,
      ),
    )
    .option(
      '--validation-fraction <share>',
      'share of the texts, from their end, to keep for validation',
      fraction,
      0.1,
    )
    .option('--text-key <name>', 'key of the text in JSON lines', 'text')
    .option(
      '--workers <n>',
      'threads that read, at most two for a tokenizer.json (default: one per processor); the result does not depend on it',
      integer(1),
    )
    .addOption(jsonOption('the result as JSON'))
    .addHelpText(
      'after',
      `
Examples:
  $ tesserae prepare book.txt --output data/book
  $ tesserae prepare corpus/ more.jsonl --output data/corpus --tokenizer gpt2/tokenizer.json`,
    )
    .action(async (inputs: string[], { json, endOfText: endOfTextToken, ...options }: PrepareFlags) =>
      done(await prepare(inputs, { ...options, endOfTextToken, json: json ?? false })),
    );

type PrepareFlags = Omit<PrepareCommand, 'json' | 'endOfTextToken'> & {
  readonly json?: true;
  readonly endOfText?: string;
};

/** What the command line says. */
export interface PrepareCommand extends Pick<
  PrepareOptions,
  | 'tokenizer'
  | 'endOfTextToken'
  | 'startToken'
  | 'format'
  | 'dtype'
  | 'validationFraction'
  | 'textKey'
  | 'workers'
> {
  readonly output: string;
  readonly json: boolean;
}

/**
 * `tesserae prepare`: tokenizes texts into a folder of token files, which appears as a whole or not at all. Returns the
 * exit code.
 */
export async function prepare(inputs: readonly string[], command: PrepareCommand): Promise<number> {
  const { output, json, ...options } = command;
  const folder = path.resolve(output);
  const inputNames = inputs.map((input) => path.relative(folder, path.resolve(input)));
  await checkReplaceable(folder, inputNames);
  const progress = new AmountProgress(bytesText);
  const started = performance.now();
  using interrupt = new Interrupt(
    () => undefined,
    () => progress.stop(),
  );
  let made: PreparedTokens | undefined;
  try {
    await writeDirectory(folder, PREPARED_FILES, async (temporary) => {
      const given = { ...options, inputs, inputNames, signal: interrupt.signal, onProgress: progress.update };
      made = await prepareTokens(temporary, given);
    });
  } catch (error) {
    if (interrupt.requested) return interrupt.exitCode;
    throw asData(error);
  } finally {
    progress.stop();
  }
  if (made) tellOfSeparator(made);
  if (made) tell(made, folder, { json, seconds: (performance.now() - started) / 1000 });
  return 0;
}

/** Allows replacing a folder only if this command made it from the same inputs. */
async function checkReplaceable(folder: string, inputNames: readonly string[]): Promise<void> {
  const refuse = (why: string): never => {
    throw new TesseraeError('ERR_DATA', `'${folder}' ${why}: choose another --output, or remove it`, {
      details: { path: folder },
    });
  };
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    return refuse(error.code === 'ENOTDIR' ? 'is a file, not a folder' : `can't be read (${error.message})`);
  });
  if (entries.length === 0) return;
  const foreign = entries.find((entry) => !PREPARED_FILES.includes(entry));
  if (foreign !== undefined) refuse(`is not replaced, because it contains '${foreign}'`);
  const made = await readDescription(path.join(folder, TRAIN_FILE)).catch(() => undefined);
  if (!made)
    return refuse(`is not replaced, because no JSON file says which inputs its ${TRAIN_FILE} was made from`);
  if (made.inputs?.join('\n') !== inputNames.join('\n'))
    refuse(
      `is not replaced, because it was made from other inputs (${made.inputs?.join(', ') ?? 'unknown ones'})`,
    );
}

/** Here, a folder that can't be written is an error of the data, not of a checkpoint. */
function asData(error: unknown): unknown {
  if (!(error instanceof TesseraeError) || error.code !== 'ERR_CHECKPOINT') return error;
  return new TesseraeError('ERR_DATA', error.message, { details: { ...error.details }, cause: error });
}

/** Warns if no token separates documents: a model then learns to continue one document with the next. */
function tellOfSeparator({ train, validation }: PreparedTokens): void {
  const areJoined = [train, validation].some((part) => (part?.documents ?? 0) > 1);
  if (!areJoined || train.endOfTextToken !== undefined) return;
  const remedy =
    train.tokenizer?.name === 'byte'
      ? 'bytes have no such token; use a tokenizer.json to get one'
      : 'the tokenizer names no end-of-text token; set one with --end-of-text';
  print(`no token separates the documents: ${remedy}\n`, process.stderr);
}

function tell(
  { train, validation }: PreparedTokens,
  folder: string,
  { json, seconds }: { readonly json: boolean; readonly seconds: number },
): void {
  if (json) {
    printJson({ type: 'prepare', folder, seconds, train, validation });
    return;
  }
  const counts = ({ tokens, documents }: TokenDescription): string =>
    `${formatCount(tokens)} tokens` +
    (documents === undefined ? '' : `, ${documents} ${documents === 1 ? 'document' : 'documents'}`);
  const { tokenizer, vocabSize, format, dtype } = train;
  const lines: [string, string][] = [
    [
      'prepared',
      `${shownPath(folder)} in ${seconds < 60 ? formatSeconds(seconds) : formatDuration(seconds)}`,
    ],
    ['train', counts(train)],
    ...(validation ? ([['validation', counts(validation)]] as [string, string][]) : []),
    [
      'tokens',
      `${dtype}, ${format} layout, ${tokenizer?.name ?? 'unknown'} tokenizer, vocabulary of ${vocabSize}`,
    ],
  ];
  print(labelled(lines));
}
