'use strict';

// jest tells its workers to use colours where its own output has them: what the tests read must not depend on that, nor
// on the terminal that it runs in. It is said here and not in a setup file, where process.env is a copy that processes
// which a test starts see only where they are handed it.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = '1';
process.env.TERM = 'xterm';

module.exports = require('jest-environment-node');
