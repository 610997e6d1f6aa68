import { open, type FileHandle } from 'node:fs/promises';

/** From here on nothing can be appended to an open file, as on a full disk. Gives what ends it. */
export async function withoutAppends(): Promise<() => void> {
  const handle = await open('/dev/null');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const failing = jest
    .spyOn(prototype, 'appendFile')
    .mockRejectedValue(Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }));
  return () => failing.mockRestore();
}
