'use strict';

// The thread that threads.test.ts calls.
const { TesseraeError } = require('../../../dist/errors');
const { throttled } = require('../../../dist/threads/progress');
const { serve } = require('../../../dist/threads/server');
const { transfer } = require('../../../dist/threads/transfer');

const kept = new Float32Array(4);

serve(
  {
    add: (a, b) => a + b,
    later: (value, milliseconds) => new Promise((resolve) => setTimeout(() => resolve(value), milliseconds)),
    fail(kind) {
      if (kind === 'coded')
        throw new TesseraeError('ERR_DATA', 'line 7 is wrong', { details: { path: 'a.txt', line: 7 } });
      if (kind === 'exhausted') throw Object.assign(new Error('EMFILE: open'), { code: 'EMFILE' });
      if (kind === 'uncloneable') return () => undefined;
      throw new Error('a bug');
    },
    count(steps, report) {
      const progress = throttled(report);
      for (let i = 1; i <= steps; i++) progress(i, steps);
      return steps;
    },
    give: (moved) => (moved ? transfer({ kept }, [kept]) : { kept }),
    keptLength: () => kept.length,
    lengthOf: (array) => array.length,
    async sum(count, read) {
      let sum = 0;
      for (let i = 0; i < count; i++) for (const value of await read(i)) sum += value;
      return sum;
    },
    async recover(read) {
      return read().catch(() => 'went on');
    },
    ignore(report) {
      report();
      return 'went on';
    },
    spin() {
      for (;;);
    },
    exit: () => process.exit(3),
    crash(code) {
      setImmediate(() => {
        throw Object.assign(new Error('the roof fell in'), { code });
      });
      return new Promise(() => undefined);
    },
  },
  'the test thread failed',
);
