import { ThreadClient } from '../threads/client';

/** Starts a thread that reads data. @param program - its path from lib/data, such as `worker`. */
export const startDataThread = <Served extends object>(program: string): ThreadClient<Served> =>
  new ThreadClient(`data/${program}.js`, { thread: 'the data worker', owner: 'the data' });
