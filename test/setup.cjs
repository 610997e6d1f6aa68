'use strict';

// jest tells its workers to use colours where its own output has them: what the tests read must not depend on that, nor
// on the terminal that it runs in.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = '1';
process.env.TERM = 'xterm';
