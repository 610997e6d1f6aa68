/**
 * What a worker answers to 0, 1, 2, … until it has no more: the next is asked for while the one before is used. A failure is
 * thrown when its turn comes.
 */
export async function* oneAhead<T>(ask: (index: number) => Promise<T | undefined>): AsyncGenerator<T> {
  let next = ask(0);
  for (let index = 1; ; index++) {
    const answer = await next;
    if (answer === undefined) return;
    next = ask(index);
    next.catch(() => undefined);
    yield answer;
  }
}
