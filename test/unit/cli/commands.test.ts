import { completion, SHELLS } from '../../../lib/cli/completion';
import { program } from '../../../lib/cli/main';
import { tesserae } from '../support/command_line';

const root = program(() => undefined);

it('lists every command and no other in its help', async () => {
  const { out } = await tesserae('--help');
  expect(root.commands.map((command) => command.name())).toEqual(
    expect.arrayContaining(['prepare', 'train', 'eval', 'sample', 'plan', 'doctor', 'export']),
  );
  for (const command of root.commands) expect(out).toContain(`  ${command.name()} `);
});

describe.each(root.commands.map((command) => [command.name(), command] as const))('%s', (name, command) => {
  const options = command.options.map(({ long }) => long ?? '');

  it('has a summary, a description, arguments that are explained, and an example of its own', async () => {
    const { code, out } = await tesserae(name, '--help');
    expect(code).toBe(0);
    expect(command.summary()).toMatch(/^[a-z]/);
    expect(command.description()).toMatch(/\.$/);
    for (const { description } of command.registeredArguments) expect(description).toMatch(/\w/);
    for (const { description } of command.options) expect(description).toMatch(/\w/);
    expect(out).toMatch(new RegExp(`Examples?:\n.*\\$ .*tesserae ${name}`));
  });

  it('prints JSON when asked to', () => {
    expect(options).toContain('--json');
  });

  it('is completed in each shell, with every option', () => {
    for (const shell of SHELLS) {
      const lines = completion(shell, root).split('\n');
      const own = lines.filter((line) => line.includes(shell === 'fish' ? `_from ${name}'` : ` ${name})`));
      for (const option of options) {
        const flag = shell === 'fish' ? `-l ${option.slice(2)} ` : option;
        expect({ option, found: own.some((line) => line.includes(flag)) }).toEqual({ option, found: true });
      }
    }
  });

  it('reports wrong usage as text and as JSON', async () => {
    const text = await tesserae(name, '--nonsense');
    expect(text).toMatchObject({ code: 2, out: '' });
    expect(text.err).toMatch(/^error: (unknown|required) option/);
    const json = await tesserae(name, '--nonsense', '--json');
    expect(json).toMatchObject({ code: 2, out: '' });
    expect(JSON.parse(json.err)).toMatchObject({
      type: 'error',
      code: 'ERR_CONFIG',
      message: expect.stringMatching(/^(unknown|required) option/) as string,
    });
  });
});
