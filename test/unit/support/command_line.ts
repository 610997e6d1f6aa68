import { main } from '../../../lib/cli/main';

/** Runs the command line in this process; collects what it writes. */
export async function tesserae(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const collect = (key: 'out' | 'err') => (chunk: unknown) => {
    written[key] += String(chunk);
    return true;
  };
  const spies = [
    jest.spyOn(process.stdout, 'write').mockImplementation(collect('out')),
    jest.spyOn(process.stderr, 'write').mockImplementation(collect('err')),
  ];
  try {
    const code = await main(args);
    return { code, ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** The lines of a JSON-lines text. */
export const records = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
