import { Argument, Command, type Option } from 'commander';
import { jsonOption } from './options';
import { print, printJson } from './terminal';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

export const completionCommand = (root: Command): Command =>
  new Command('completion')
    .summary('print a completion script for your shell')
    .description('Prints a script that completes commands, options and their choices in your shell.')
    .addArgument(new Argument('<shell>', 'your shell').choices(SHELLS))
    .addOption(jsonOption('the script as JSON'))
    .addHelpText(
      'after',
      `
Examples:
  $ source <(tesserae completion bash)                        # in ~/.bashrc, or in ~/.zshrc with zsh
  $ tesserae completion fish > ~/.config/fish/completions/tesserae.fish`,
    )
    .action((shell: Shell, { json }: { readonly json?: true }) => {
      const script = completion(shell, root);
      if (json) printJson({ type: 'completion', shell, script });
      else print(script);
    });

/** `tesserae completion`: a script that completes commands, options and their choices, and otherwise file names. */
export function completion(shell: Shell, root: Command): string {
  const name = root.name();
  const commands = root.commands.map((command) => ({
    name: command.name(),
    summary: command.summary() || command.description(),
    options: command.createHelp().visibleOptions(command),
    choices: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
  }));
  switch (shell) {
    case 'bash':
      return bash(name, commands);
    case 'zsh':
      return `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bash(name, commands)}`;
    case 'fish':
      return fish(name, commands);
  }
}

interface CommandWords {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** The choices of its arguments; without any, the shell completes file names. */
  readonly choices: readonly string[];
}

const flags = ({ short, long }: Option): string[] => [short, long].filter((flag) => flag !== undefined);

function bash(name: string, commands: readonly CommandWords[]): string {
  const cases = commands.map(
    ({ name: command, options, choices }) =>
      `    ${command}) options='${options.flatMap(flags).join(' ')}'; values='${choices.join(' ')}' ;;`,
  );
  const values = commands.flatMap(({ name: command, options }) =>
    options.flatMap((option) =>
      flags(option).flatMap((flag) =>
        option.argChoices
          ? [
              `    '${command} ${flag}') COMPREPLY=($(compgen -W '${option.argChoices.join(' ')}' -- "$current")); return ;;`,
            ]
          : [],
      ),
    ),
  );
  return `_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" options='' values=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${commands.map((command) => command.name).join(' ')}' -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]} $previous" in
${values.join('\n')}
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n "$values" ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
  fi
}
complete -o default -F _${name} ${name}
`;
}

function fish(name: string, commands: readonly CommandWords[]): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const lines = commands.flatMap(({ name: command, summary, options, choices }) => {
    const within = `complete -c ${name} -n '__fish_seen_subcommand_from ${command}'`;
    return [
      `complete -c ${name} -n __fish_use_subcommand -f -a ${command} -d ${quoted(summary)}`,
      ...(choices.length > 0 ? [`${within} -f -a ${quoted(choices.join(' '))}`] : []),
      ...options.map(({ short, long, required, argChoices, description }) =>
        [
          within,
          ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
          ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
          ...(required ? ['-r'] : []),
          ...(argChoices ? [`-f -a ${quoted(argChoices.join(' '))}`] : []),
          `-d ${quoted(description)}`,
        ].join(' '),
      ),
    ];
  });
  return `${lines.join('\n')}\n`;
}
