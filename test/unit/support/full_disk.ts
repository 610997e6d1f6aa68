import { open, type FileHandle } from 'node:fs/promises';

/** Makes every append to an open file fail, as on a full disk. Returns a function that ends this. */
export async function withoutAppends(): Promise<() => void> {
  const handle = await open('/dev/null');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const failing = jest
    .spyOn(prototype, 'appendFile')
    .mockRejectedValue(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
  return () => failing.mockRestore();
}
