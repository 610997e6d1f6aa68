const moved = new WeakMap<object, readonly ArrayBufferView[]>();

/**
 * Says that a value which goes to another thread takes the memory of these arrays with it: nothing is copied, and the arrays
 * are empty here afterwards. An array must own its whole buffer.
 *
 * @returns the value.
 */
export function transfer<T extends object>(value: T, arrays: readonly ArrayBufferView[]): T {
  moved.set(value, arrays);
  return value;
}

/** The memory that a value takes with it. */
export function transferList(value: unknown): ArrayBuffer[] {
  const arrays = typeof value === 'object' && value !== null ? moved.get(value) : undefined;
  return (arrays ?? []).map(({ buffer }) => buffer as ArrayBuffer);
}
