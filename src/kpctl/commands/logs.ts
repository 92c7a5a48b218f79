import { InvalidArgumentError, type Command } from 'commander';
import { ExitCode, Failure } from '../../platform/errors.ts';
import type { Interruption } from '../interruption.ts';
import { openCluster, outputFormat, withContextOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import { Progress } from '../terminal-progress.ts';
import { printResult, type Terminal } from '../terminal.ts';

interface LogsOptions extends Omit<ClusterOptions, 'namespace'> {
  readonly namespace?: readonly string[];
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly tail?: number;
  readonly gather?: boolean;
  readonly file?: string;
  readonly output?: string;
}

/** `kpctl logs WORKLOAD|operator|gateway`: what kpeering's containers have written; `--gather`: all that a bug report needs, in one archive. */
export function logsCommand(program: Command, terminal: Terminal, interruption: Interruption): void {
  const command = program
    .command('logs')
    .description("print what kpeering's own containers have written, or gather all that a bug report needs in one archive")
    .argument('[workload]', 'NAME or TYPE/NAME; operator; gateway')
    .option('-n, --namespace <namespace>', "the namespace (default: the context's); with --gather it may be repeated", collect)
    .option('-f, --follow', 'go on printing what they write, until Ctrl-C')
    .option('--previous', 'of the containers before their last restart')
    .option('--tail <lines>', 'only so many of the last lines of each', parseLines)
    .option('--gather', 'write an archive for a bug report: versions, findings of the doctor, logs, objects; secrets are taken out')
    .option('--file <file>', 'the archive of --gather (default: kpeering-DATE.tar.gz in this folder)');
  withOutputOption(withContextOptions(command)).action(async (workload: string | undefined, options: LogsOptions) => {
    const signal = interruption.listen();
    if (options.gather === true) {
      if (workload !== undefined || options.follow === true || options.previous === true || options.tail !== undefined) {
        throw usage('--gather takes no workload, --follow, --previous or --tail: it gathers all of a namespace', 'name namespaces with -n');
      }
      await gatherArchive(options, terminal, signal);
      return;
    }
    if (options.file !== undefined) throw usage('--file is for --gather', 'redirect the output: kpctl logs WORKLOAD > FILE');
    if (workload === undefined) throw usage('logs needs the name of a workload, operator or gateway', 'or --gather, for a bug report');
    if ((options.namespace?.length ?? 0) > 1) throw usage('only --gather takes several namespaces', 'name one with -n');
    const { printLogs } = await import('../logs/print-logs.ts');
    await using cluster = await openCluster(clusterOptions(options));
    await printLogs(
      { cluster, name: workload, follow: options.follow === true, previous: options.previous === true, tail: options.tail },
      terminal,
      outputFormat(options),
      { signal },
    );
  });
}

async function gatherArchive(options: LogsOptions, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const { gather, writeArchive } = await import('../gather/index.ts');
  using progress = new Progress(terminal, 'gathering');
  const gathered = await gather({
    open: async () => await openCluster(clusterOptions(options)),
    namespaces: options.namespace ?? [],
    onStep: (what) => progress.update(what),
    signal,
  });
  progress.done();
  const file =
    options.file ??
    `kpeering-${new Date()
      .toISOString()
      .replace(/\.\d+Z$/, '')
      .replaceAll(/[-:]/g, '')
      .replace('T', '-')}.tar.gz`;
  const format = outputFormat(options);
  const { files, missing } = gathered;
  if (format === 'text') {
    terminal.result(`this goes into ${file}, with secrets taken out (README.txt in it says how):`);
    for (const { path, content } of files) terminal.result(`  ${path}  ${content.length} bytes`);
    for (const what of missing) terminal.result(`  not in it: ${what}`);
  }
  const bytes = await writeArchive(file, files);
  const contents = files.map(({ path, content }) => ({ path, bytes: content.length }));
  printResult(terminal, format, { file, bytes, contents, missing }, () => [
    `wrote ${file} (${bytes} bytes, readable by you only): look into it before you give it away, names and addresses are in it`,
  ]);
}

function clusterOptions({ namespace, ...options }: LogsOptions): ClusterOptions {
  const [first] = namespace ?? [];
  return { ...options, ...(first !== undefined && { namespace: first }) };
}

function collect(namespace: string, previous: readonly string[] = []): string[] {
  return [...previous, namespace];
}

function parseLines(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`it is a number of lines, and "${text}" is not`);
  return Number(text);
}

function usage(what: string, remedy: string): Failure {
  return new Failure('USAGE', what, { remedy, exitCode: ExitCode.usage });
}
