'use strict';

// Two workers share the cores: one OpenMP thread each, unless the caller says otherwise. It is set here, before
// jest starts its workers, because process.env inside a test is a copy that native code does not see.
process.env.OMP_NUM_THREADS ??= '1';
process.env.OMP_WAIT_POLICY ??= 'passive';

const shared = {
  rootDir: __dirname,
  testEnvironment: '<rootDir>/test/environment.cjs',
  transform: {
    '^.+\\.[cm]?[jt]sx?$': [
      '@swc/jest',
      {
        jsc: { target: 'es2023', parser: { syntax: 'typescript' }, keepClassNames: true },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: {
    // benchmarks import what lib is compiled to
    '^(?:\\.\\./)+dist/(.*)\\.js$': '<rootDir>/lib/$1.ts',
    // import('./x.js') names what x.ts is compiled to
    '^(\\.{1,2}/.*)\\.js$': ['$1.js', '$1.ts'],
  },
  // d3 is published as ES modules only; everything else in node_modules is left as it is
  transformIgnorePatterns: ['/node_modules/(?!(?:d3-[a-z-]+|internmap)/)', '\\.node$'],
};

const project = (name) => ({
  ...shared,
  displayName: name,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
});

/** @type {import('jest').Config} */
module.exports = {
  maxWorkers: 2,
  testTimeout: 60_000,
  projects: [
    ...['unit', 'e2e', 'pack', 'fuzz'].map(project),
    { ...project('gpu'), globalSetup: '<rootDir>/test/gpu/support/require_gpu.ts' },
  ],
};
