'use strict';

const NodeEnvironment = require('jest-environment-node').TestEnvironment;

// jest's workers use colours if jest's own output does. What the tests read must not depend on that, nor on the terminal. Set
// here, not in a setup file: there process.env is a copy, which native code does not see, and processes started by a test only
// if they are passed it.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = '1';
process.env.TERM = 'xterm';
// What has been tuned on this machine must not change what the tests see; a test sets its own folder.
process.env.TESSERAE_CACHE = '/nonexistent';

/**
 * Sets environment variables for the tests of a file that begins with this comment:
 *
 *     @jest-environment-options { "variables": { "NAME": "value" } }
 */
module.exports = class extends NodeEnvironment {
  constructor(config, context) {
    const { variables = {} } = config.projectConfig.testEnvironmentOptions;
    const before = Object.keys(variables).map((name) => [name, process.env[name]]);
    Object.assign(process.env, variables);
    super(config, context);
    this.before = before;
  }

  async teardown() {
    for (const [name, value] of this.before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await super.teardown();
  }
};
