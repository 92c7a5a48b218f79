import type { Command, Option } from 'commander';

/** What stands where the cursor is, as commander would read it. */
export type CompletionPlace =
  | { readonly kind: 'commands'; readonly program: Command }
  | { readonly kind: 'options'; readonly command: Command; readonly given: GivenOptions }
  /** `prefix` is part of the word: `--output=`. */
  | {
      readonly kind: 'value';
      readonly option: Option;
      readonly prefix: string;
      readonly command: Command;
      readonly given: GivenOptions;
      readonly operands: readonly string[];
    }
  | { readonly kind: 'operand'; readonly command: Command; readonly given: GivenOptions; readonly operands: readonly string[] }
  /** Another program's command line begins at this word, counted from the one behind `kpctl`. */
  | { readonly kind: 'command-line'; readonly from: number };

/** The options before the cursor, by long name without its dashes; the values as they were written. */
export type GivenOptions = ReadonlyMap<string, readonly string[]>;

/** `words` are those behind `kpctl`, as far as the cursor; the last one is being written. */
export function placeOf(program: Command, words: readonly string[]): CompletionPlace {
  const current = words.at(-1) ?? '';
  const command = program.commands.find((one) => one.name() === words[0] && words.length > 1);
  if (command === undefined)
    return current.startsWith('-') ? { kind: 'options', command: program, given: new Map() } : { kind: 'commands', program };
  const given = new Map<string, string[]>();
  const operands: string[] = [];
  let open: Option | undefined;
  let onlyOperands = false;
  for (let index = 1; index < words.length - 1; index += 1) {
    const word = words[index] ?? '';
    if (open !== undefined && !(open.optional && word.startsWith('-'))) {
      note(given, open, word);
      open = open.variadic && !(words[index + 1] ?? '').startsWith('-') ? open : undefined;
    } else if (onlyOperands || !word.startsWith('-') || word === '-') {
      if (takesCommandLine(command)) return { kind: 'command-line', from: index };
      operands.push(word);
    } else if (word === '--') {
      onlyOperands = true;
      if (takesCommandLine(command)) return { kind: 'command-line', from: index + 1 };
    } else {
      const { option, value } = readOption(command, word);
      open = undefined;
      if (option !== undefined && (value !== undefined || !(option.required || option.optional))) note(given, option, value ?? '');
      else open = option;
    }
  }
  if (open !== undefined && !(open.optional && current.startsWith('-')))
    return { kind: 'value', option: open, prefix: '', command, given, operands };
  if (onlyOperands || !current.startsWith('-')) return { kind: 'operand', command, given, operands };
  const equals = current.indexOf('=');
  const { option } = current.startsWith('--') && equals !== -1 ? readOption(command, current) : { option: undefined };
  if (option === undefined) return { kind: 'options', command, given };
  return { kind: 'value', option, prefix: current.slice(0, equals + 1), command, given, operands };
}

/** Whether what follows its options is another program's: `run`. */
export function takesCommandLine(command: Command): boolean {
  return command.registeredArguments.some((argument) => argument.name() === 'command' && argument.variadic);
}

function note(given: Map<string, string[]>, option: Option, value: string): void {
  given.set(option.name(), [...(given.get(option.name()) ?? []), value]);
}

/** `--name`, `--name=value`, `-n`, `-nvalue`. */
function readOption(command: Command, word: string): { readonly option: Option | undefined; readonly value?: string } {
  if (word.startsWith('--')) {
    const [flag = '', ...rest] = word.split('=');
    const option = command.options.find(({ long }) => long === flag);
    return rest.length === 0 ? { option } : { option, value: rest.join('=') };
  }
  const option = command.options.find(({ short }) => short === word.slice(0, 2));
  return word.length > 2 ? { option, value: word.slice(2) } : { option };
}
