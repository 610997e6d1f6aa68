'use strict';

// jest's workers use colours if jest's own output does. What the tests read must not depend on that, nor on the terminal. Set
// here, not in a setup file: there process.env is a copy, which processes started by a test see only if they are passed it.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = '1';
process.env.TERM = 'xterm';
// What has been tuned on this machine must not change what the tests see; a test sets its own folder.
process.env.TESSERAE_CACHE = '/nonexistent';

module.exports = require('jest-environment-node');
