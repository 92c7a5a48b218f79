import type { Command, Option } from 'commander';
import { ClusterCandidates, CLUSTER_MILLISECONDS } from './from-cluster.ts';
import { placeOf, type CompletionPlace, type GivenOptions } from './place.ts';

export interface Candidate {
  readonly value: string;
  readonly description?: string;
}

/** What is offered, and what the shell is to add by itself. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  /** `files`; or the command line of another program, from this word on, counted from the one behind `kpctl`. */
  readonly also?: 'files' | { readonly commandFrom: number };
}

/** What may stand at the end of `words`, those behind `kpctl`. Nothing is offered rather than an error told: this is asked at each Tab. */
export async function complete(program: Command, words: readonly string[], topics: readonly Candidate[]): Promise<Completion> {
  const place = placeOf(program, words);
  const current = words.at(-1) ?? '';
  const { candidates, also } = await candidatesOf(place, current, topics);
  return { candidates: candidates.filter(({ value }) => value.startsWith(current)), ...(also !== undefined && { also }) };
}

async function candidatesOf(place: CompletionPlace, current: string, topics: readonly Candidate[]): Promise<Completion> {
  switch (place.kind) {
    case 'commands':
      return { candidates: visible(place.program) };
    case 'options':
      return { candidates: optionsOf(place.command, place.given) };
    case 'value': {
      const { option, prefix } = place;
      const rest = current.slice(prefix.length);
      const values = option.argChoices ?? undefined;
      const completion =
        values === undefined ? await byKind(placeholderOf(option), place, rest) : { candidates: values.map((value) => ({ value })) };
      const prefixed = completion.candidates.map((one) => ({ ...one, value: prefix + one.value }));
      return { ...completion, candidates: prefixed };
    }
    case 'operand': {
      const declared = place.command.registeredArguments;
      const argument = declared[place.operands.length] ?? (declared.at(-1)?.variadic === true ? declared.at(-1) : undefined);
      if (argument === undefined) return { candidates: [] };
      if (argument.argChoices !== undefined) return { candidates: argument.argChoices.map((value) => ({ value })) };
      if (argument.name() === 'command') return { candidates: [], also: { commandFrom: -1 } };
      if (argument.name() === 'topic') return { candidates: [...topics, ...visible(place.command.parent ?? place.command)] };
      return await byKind(argument.name(), place, current);
    }
    case 'command-line':
      return { candidates: [], also: { commandFrom: place.from } };
  }
}

/** By what an option's value or an argument is called in the help. Whatever goes wrong, nothing is offered. */
async function byKind(
  kind: string,
  { command, given, operands }: { readonly command: Command; readonly given: GivenOptions; readonly operands: readonly string[] },
  current: string,
): Promise<Completion> {
  if (kind === 'file') return { candidates: [], also: 'files' };
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error('too late')), CLUSTER_MILLISECONDS);
  const { promise: gone, reject } = Promise.withResolvers<never>();
  late.signal.addEventListener('abort', () => reject(late.signal.reason), { once: true });
  try {
    return {
      candidates: await Promise.race([
        gone,
        fromCluster(kind, new ClusterCandidates(given, late.signal), { command, given, operands }, current),
      ]),
    };
  } catch {
    return { candidates: [] };
  } finally {
    clearTimeout(timer);
    gone.catch(() => undefined);
  }
}

async function fromCluster(
  kind: string,
  cluster: ClusterCandidates,
  { command, given, operands }: { readonly command: Command; readonly given: GivenOptions; readonly operands: readonly string[] },
  current: string,
): Promise<readonly Candidate[]> {
  const workload = given.get('workload')?.at(-1) ?? (command.registeredArguments[0]?.name() === 'workload' ? operands[0] : undefined);
  if (kind === 'namespace') return await cluster.namespaces();
  if (kind === 'context') return await cluster.contexts();
  if (kind === 'workload') return command.name() === 'leave' ? await cluster.intercepted() : await cluster.workloads();
  if (kind === 'container' || (kind === 'name' && given.has('container'))) return await cluster.containers(workload);
  if (kind.startsWith('[LOCAL:]REMOTE')) return await cluster.ports(workload, beforeColon(current));
  if (kind.startsWith('[LOCAL:]HOST')) return await cluster.serviceAddresses(/^\d+:/.exec(current)?.[0] ?? '');
  return [];
}

function beforeColon(text: string): string {
  return text.slice(0, text.lastIndexOf(':') + 1);
}

function visible(program: Command): Candidate[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .map((command) => ({ value: command.name(), description: command.description() }));
}

/** Long options, and short ones; those that were given are left out where they take one value only. */
function optionsOf(command: Command, given: GivenOptions): Candidate[] {
  const offered = command
    .createHelp()
    .visibleOptions(command)
    .filter((option) => !given.has(option.name()) || option.variadic || (option.parseArg !== undefined && option.argChoices === undefined));
  return offered.flatMap(({ long, short, description }) =>
    [long, short].flatMap((value) => (value == null ? [] : [{ value, description }])),
  );
}

/** `<namespace>`, `[container]`, `<group...>` without their brackets. */
function placeholderOf(option: Option): string {
  if (option.attributeName() === 'container') return 'container';
  return (/[<[](.*)[>\]]$/.exec(option.flags.split(/\s+/).slice(-1)[0] ?? '')?.[1] ?? '').replace(/\.\.\.$/, '');
}
