// @ts-check
/**
 * Runs an example, and says what went wrong.
 *
 * @param {() => Promise<void>} main
 */
export function run(main) {
  // A reader that has seen enough, such as head, closes the pipe.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (/** @type {NodeJS.ErrnoException} */ error) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit();
    });
  main().catch((error) => {
    // What has a code says what is wrong and what to do.
    console.error(error.code ? `${error.code}: ${error.message}` : error);
    process.exitCode = 1;
  });
}
