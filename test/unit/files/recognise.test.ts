import { gzipSync } from 'node:zlib';
import { recognise, recogniseUnmeant } from '../../../lib/files/recognise';

const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 548105171\n';

/** The first file of a zip archive that is stored, as torch.save and numpy.savez write it. */
function zip(name: string): Buffer {
  const header = Buffer.alloc(30);
  header.write('PK\x03\x04', 'latin1');
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, Buffer.from(name), Buffer.from('contents')]);
}

function safetensors(header: string): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, Buffer.from(header)]);
}

describe('recognise', () => {
  it.each<[string, Uint8Array | string, RegExp]>([
    ['a pointer', POINTER, /^a Git LFS pointer.*git lfs pull/],
    ['a page', '<!DOCTYPE html>\n<html lang="en">', /^an HTML page/],
    ['a page after a mark and spaces', '\uFEFF\n <HTML>', /^an HTML page/],
    ['XML', '<?xml version="1.0"?><Error><Code>AccessDenied</Code>', /^an XML file/],
    ['what a hub answers', 'Entry not found', /^the error message of a failed download/],
    ['what torch.save writes', zip('archive/data.pkl'), /^a PyTorch checkpoint.*save_pretrained/],
    ['what numpy.savez writes', zip('arr_0.npy'), /NumPy/],
    ['another archive', zip('readme.md'), /^a zip archive: unpack/],
    ['what older torch.save wrote', Uint8Array.of(0x80, 2, 0x8a, 10, 0x6c, 0xfc), /^a Python pickle/],
    ['GGUF', 'GGUF\x03\0\0\0', /^a GGUF file/],
    ['an .h5', Uint8Array.of(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a), /^an HDF5 file/],
    ['ONNX', '\x08\x07\x12\x07pytorch\x1a\x051.9.0', /^an ONNX model/],
    ['SentencePiece', '\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02', /^a SentencePiece model/],
    ['Flax', Buffer.from('\x81\xabtransformer', 'latin1'), /^a msgpack file/],
    ['gzip', gzipSync('text'), /^a gzip file: unpack/],
    ['zstd', Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0), /^a zstd file/],
    ['Parquet', 'PAR1\x15', /^a Parquet file/],
    ['UTF-16', Buffer.from('\uFEFF{"a": 1}', 'utf16le'), /^text in UTF-16/],
    ['safetensors', safetensors('{"a":{}}'), /^a safetensors file/],
    ['nothing', '', /^empty/],
    ['zeros', new Uint8Array(300), /^only zeros/],
  ])('%s', (_what, start, expected) => {
    const bytes = typeof start === 'string' ? Buffer.from(start, 'utf8') : start;
    expect(recognise(bytes, 'JSON')).toMatch(expected);
  });

  it('does not report the expected type', () => {
    const json = Buffer.from('{"a": 1');
    expect(recognise(json, 'JSON')).toBeUndefined();
    expect(recognise(json, 'safetensors')).toBe('a JSON file');
    expect(recognise(safetensors('{"a":{}}'), 'safetensors')).toBeUndefined();
  });

  it('says nothing about unknown types', () => {
    for (const text of ['Call me Ishmael.', 'not founded', '# notes', 'null'])
      expect(recognise(Buffer.from(text), 'JSON')).toBeUndefined();
  });

  it('recognises files of text and token ids that are never meant', () => {
    const [pointer, page] = [Buffer.from(`xx${POINTER}`).subarray(2), Buffer.from('<html>')];
    expect(recogniseUnmeant(pointer, 'text')).toMatch(/Git LFS/);
    expect(recogniseUnmeant(pointer, 'tokens')).toMatch(/Git LFS/);
    expect(recogniseUnmeant(page, 'tokens')).toMatch(/HTML/);
    expect(recogniseUnmeant(page, 'text')).toBeUndefined();
    expect(recogniseUnmeant(gzipSync('text'), 'tokens')).toBeUndefined();
  });
});
