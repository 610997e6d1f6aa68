/** Recognizes the type of an unexpected file from its first bytes. */

/** Number of first bytes that `recognise` reads. */
export const RECOGNISED_BYTES = 512;

/** A file with fewer zeros may be intended. */
const LEAST_ZEROS = 64;

/** The expected type of a file, which is not reported. */
export type ExpectedFile = 'JSON' | 'safetensors' | 'text' | 'tokens';

interface Kind {
  /** Completes 'it is …', with what to do. */
  readonly what: string;
  readonly matches: (start: Buffer) => boolean;
  readonly expectedAs?: ExpectedFile;
  /** The expected types for which it is never intended, although it could be read. */
  readonly neverAs?: readonly ExpectedFile[];
}

const startsWith =
  (...bytes: number[]) =>
  (start: Buffer): boolean =>
    start.subarray(0, bytes.length).equals(Buffer.from(bytes));

const startsWithText =
  (text: string, at = 0) =>
  (start: Buffer): boolean =>
    start.subarray(at, at + text.length).equals(Buffer.from(text, 'latin1'));

const startsLike =
  (pattern: RegExp) =>
  (start: Buffer): boolean =>
    pattern.test(start.toString('latin1'));

const UNPACK = 'unpack it';
const CONVERT =
  "convert it with Python: from transformers import GPT2LMHeadModel as M; M.from_pretrained('FROM').save_pretrained('TO')";
const AGAIN = 'download the file again';

const isZip = startsWith(0x50, 0x4b, 0x03, 0x04);
const zipOf = (name: string) => (start: Buffer) => isZip(start) && start.includes(name);

/** Tried in this order. */
const KINDS: readonly Kind[] = [
  {
    what: "a Git LFS pointer instead of the file: fetch the file with 'git lfs pull', or download it",
    matches: startsWithText('version https://git-lfs.github.com/spec/'),
    neverAs: ['text', 'tokens'],
  },
  {
    what: `an HTML page, perhaps of an error or a log-in: ${AGAIN}`,
    matches: startsLike(/^(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)/i),
    neverAs: ['tokens'],
  },
  { what: `an XML file: ${AGAIN}`, matches: startsLike(/^(?:\xef\xbb\xbf)?\s*<\?xml/) },
  {
    what: `the error message of a failed download: ${AGAIN}`,
    matches: startsLike(
      /^(?:Entry not found|Repository not found|Invalid username or password|Not Found)\b/i,
    ),
  },
  {
    what: `a PyTorch checkpoint (a zip archive that contains a pickle), which can run code: ${CONVERT}`,
    matches: zipOf('data.pkl'),
    neverAs: ['tokens'],
  },
  { what: 'an archive of NumPy arrays (.npz)', matches: zipOf('.npy') },
  { what: `a zip archive: ${UNPACK}`, matches: isZip },
  {
    what: `a Python pickle, the format of older PyTorch checkpoints, which can run code: ${CONVERT}`,
    matches: (start) => start[0] === 0x80 && (start[1] ?? 0) >= 2 && (start[1] ?? 0) <= 5,
  },
  {
    what: 'a GGUF file of llama.cpp: use the model from which it was converted',
    matches: startsWithText('GGUF'),
  },
  {
    what: `an HDF5 file, the format of TensorFlow and Keras checkpoints: ${CONVERT}`,
    matches: startsWith(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a),
    neverAs: ['tokens'],
  },
  { what: 'an ONNX model: use the model from which it was converted', matches: isOnnx },
  {
    what:
      'a SentencePiece model: convert it to a tokenizer.json with Python: from transformers import AutoTokenizer as T; ' +
      "T.from_pretrained('FROM').save_pretrained('TO')",
    matches: (start) => start[0] === 0x0a && startsWithText('\x0a\x05<unk>', 2)(start),
  },
  {
    what: `a msgpack file, the format of Flax checkpoints: ${CONVERT}`,
    matches: startsLike(/^[\x81-\x8f][\xa1-\xbf][\w.]/),
  },
  { what: `a gzip file: ${UNPACK} (gunzip)`, matches: startsWith(0x1f, 0x8b) },
  { what: `a zstd file: ${UNPACK} (unzstd)`, matches: startsWith(0x28, 0xb5, 0x2f, 0xfd) },
  { what: `an xz file: ${UNPACK} (unxz)`, matches: startsWith(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00) },
  { what: `a bzip2 file: ${UNPACK} (bunzip2)`, matches: startsLike(/^BZh[1-9]/) },
  { what: `a 7z archive: ${UNPACK}`, matches: startsWith(0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c) },
  { what: `a tar archive: ${UNPACK} (tar -x)`, matches: startsWithText('ustar', 257) },
  { what: 'a Parquet file: write its texts as JSON lines', matches: startsWithText('PAR1') },
  { what: 'an Arrow file: write its texts as JSON lines', matches: startsWithText('ARROW1') },
  { what: 'a NumPy array (.npy)', matches: startsWith(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59) },
  { what: 'an SQLite database', matches: startsWithText('SQLite format 3\0') },
  { what: 'a PDF: extract its text', matches: startsWithText('%PDF-') },
  {
    what: 'text in UTF-16: convert it (iconv -f UTF-16 -t UTF-8)',
    matches: startsLike(/^(?:\xff\xfe|\xfe\xff)/),
  },
  { what: 'a safetensors file', matches: isSafetensors, expectedAs: 'safetensors' },
  { what: 'a JSON file', matches: startsLike(/^(?:\xef\xbb\xbf)?\s*[{[]\s*["{[\]}\d-]/), expectedAs: 'JSON' },
];

/**
 * The type of a file, to follow 'it is' in an error, or undefined if it is unknown. Files of several types may start with the
 * same bytes (token ids may start like a gzip file), so call this only for a file with an error.
 *
 * @param start - its first 512 bytes, or all of a shorter one.
 * @param expected - the expected type, which is not reported.
 */
export function recognise(start: Uint8Array, expected: ExpectedFile): string | undefined {
  if (start.length === 0) return 'empty';
  const bytes = Buffer.from(start.buffer, start.byteOffset, Math.min(start.length, RECOGNISED_BYTES));
  if (bytes.length >= LEAST_ZEROS && bytes.every((byte) => byte === 0))
    return `only zeros, perhaps from an interrupted download: ${AGAIN}`;
  return KINDS.find(
    ({ matches, expectedAs }) => (expectedAs === undefined || expectedAs !== expected) && matches(bytes),
  )?.what;
}

/**
 * Like recognise, but only types that are never intended in place of the expected one: a web page is also text and token ids,
 * but nobody trains on a page as ids.
 */
export function recogniseUnmeant(start: Uint8Array, expected: ExpectedFile): string | undefined {
  const bytes = Buffer.from(start.buffer, start.byteOffset, Math.min(start.length, RECOGNISED_BYTES));
  return KINDS.find(({ matches, neverAs }) => neverAs?.includes(expected) === true && matches(bytes))?.what;
}

/** A length in 8 bytes, and the header that has it. */
function isSafetensors(start: Buffer): boolean {
  return (
    start.length > 10 && start.readBigUInt64LE() <= 100_000_000n && start[8] === 0x7b && start[9] === 0x22
  );
}

/** A protocol buffer of field 1 (the version, a number) and field 2 (the producer, a text). */
function isOnnx(start: Buffer): boolean {
  const [first, version = 0, second, length = 0] = start;
  if (first !== 0x08 || version === 0 || version > 64 || second !== 0x12) return false;
  return length > 0 && /^[ -~]+$/.test(start.toString('latin1', 4, 4 + length));
}
