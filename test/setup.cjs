'use strict';

// jest tells its workers to use colours where its own output has them: what the tests read must not depend on that.
delete process.env.FORCE_COLOR;
process.env.NO_COLOR = '1';
