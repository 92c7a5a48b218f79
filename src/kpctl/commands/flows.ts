import type { Command } from 'commander';
import type { Interruption } from '../interruption.ts';
import { outputFormat, withOutputOption } from '../options.ts';
import { flowFields, flowLine, flowTable } from '../flows/print-flow.ts';
import { findPrograms } from '../flows/programs/index.ts';
import { FlowsWatch, listFlows, type ListedFlows } from '../flows/watch-flows.ts';
import { printEvent, printResult, type Terminal } from '../terminal.ts';

/** How often the table is drawn anew. */
const REDRAW_MILLISECONDS = 500;

interface FlowsOptions {
  readonly watch?: boolean;
  readonly output?: string;
}

/** `kpctl flows`: which program talks to whom through this user's kpctl processes. */
export function flowsCommand(program: Command, terminal: Terminal, interruption: Interruption): void {
  const command = program
    .command('flows')
    .description('show who talks to whom: the flows of the programs on this machine that kpctl carries (as root: of all users)')
    .option('-w, --watch', 'go on, until Ctrl-C: the table on a terminal, elsewhere a line for each flow that begins or ends');
  withOutputOption(command).action(async (options: FlowsOptions) => {
    const format = outputFormat(options);
    const signal = interruption.listen();
    if (options.watch !== true) {
      const listed = await listFlows(findPrograms, { signal });
      const now = Date.now();
      const fields = listed.flows.map((flow) => flowFields(flow, now));
      printResult(terminal, format, fields, () => flowLines(listed, now));
      return;
    }
    const draws = format === 'text' && terminal.screen !== undefined;
    const watch = new FlowsWatch(findPrograms, (event) => {
      if (draws || (format === 'text' && event.event === 'counted')) return;
      const now = Date.now();
      printEvent(terminal, format, { event: event.event, ...flowFields(event, now) }, flowLine(event, now));
    });
    const timer = draws ? setInterval(() => terminal.screen?.(flowLines(watch.listed, Date.now())), REDRAW_MILLISECONDS) : undefined;
    try {
      await watch.run(signal);
    } finally {
      clearInterval(timer);
    }
    signal.throwIfAborted();
  });
}

function flowLines(listed: ListedFlows, now: number): string[] {
  const { flows, carriers, unlisted } = listed;
  if (carriers.length === 0) return ['no kpctl run, intercept or up is running'];
  const more = unlisted === 0 ? [] : [`and ${unlisted} that found the list full`];
  return flows.length === 0 ? ['no flows now', ...more] : [...flowTable(flows, now), ...more];
}
