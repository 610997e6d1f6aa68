import { spawnSync } from 'node:child_process';
import { Argument, Command, Option } from 'commander';
import { completion } from '../../../lib/cli/completion';
import { tesserae } from '../support/command_line';

const root = new Command('tile');
root
  .command('lay')
  .summary("lay the floor's tiles")
  .argument('<file>')
  .option('-q, --quiet', 'say nothing')
  .addOption(new Option('--colour <name>', 'of the tiles').choices(['red', 'white']));
root
  .command('show')
  .summary('show')
  .addOption(new Option('--colour <name>', 'of the walls').choices(['blue']))
  .addArgument(new Argument('<what>').choices(['floor', 'wall']));

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const script = `${completion('bash', root)}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
_tile; printf '%s\\n' "\${COMPREPLY[@]}"`;
  // Bash alone: it warns of a locale that is not installed, and may run BASH_ENV first, or .bashrc where its input is a
  // socket, as it is here.
  const options = { encoding: 'utf8', env: { PATH: process.env['PATH'], LC_ALL: 'C' } } as const;
  const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-c', script], options);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return stdout.split('\n').filter((line) => line !== '');
}

it('is JSON when asked to', async () => {
  const { out } = await tesserae('completion', 'fish');
  const { out: json } = await tesserae('completion', 'fish', '--json');
  expect(JSON.parse(json)).toEqual({ type: 'completion', shell: 'fish', script: out });
});

it.each<[string[], string[]]>([
  [
    ['tile', ''],
    ['lay', 'show'],
  ],
  [['tile', 'l'], ['lay']],
  [
    ['tile', 'lay', '-'],
    ['-q', '--quiet', '--colour', '-h', '--help'],
  ],
  [['tile', 'lay', '--co'], ['--colour']],
  [
    ['tile', 'lay', '--colour', ''],
    ['red', 'white'],
  ],
  [['tile', 'show', 'w'], ['wall']],
  // Options of the same name may take other values.
  [['tile', 'show', '--colour', ''], ['blue']],
  // The shell then offers files.
  [['tile', 'lay', ''], []],
  [['tile', 'unknown', '-'], []],
])('bash completes %j with %j', (words, expected) => expect(offered(...words)).toEqual(expected));

it('zsh reads the script of bash', () => {
  expect(completion('zsh', root)).toContain(`bashcompinit\n${completion('bash', root)}`);
});

it('fish gets a line for each command and option', () => {
  const lines = completion('fish', root).split('\n');
  expect(lines[0]).toBe("complete -c tile -n __fish_use_subcommand -f -a lay -d 'lay the floor\\'s tiles'");
  expect(lines).toContain(
    "complete -c tile -n '__fish_seen_subcommand_from lay' -s q -l quiet -d 'say nothing'",
  );
  expect(lines).toContain(
    "complete -c tile -n '__fish_seen_subcommand_from lay' -l colour -r -f -a 'red white' -d 'of the tiles'",
  );
  expect(lines).toContain("complete -c tile -n '__fish_seen_subcommand_from show' -f -a 'floor wall'");
});
