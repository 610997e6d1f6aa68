import { open } from 'node:fs/promises';

/** Writes a new file and waits until it is on the disk. */
export async function writeText(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx');
  try {
    await handle.writeFile(text, 'utf8');
    await handle.sync();
  } finally {
    await handle.close();
  }
}
