import { run } from '../../src/kpctl/demo/processes.ts';

/**
 * Stops the cluster's API server (SIGSTOP of its process: it is there, and answers nothing), for what `work` takes. How is the cluster's: the commands of
 * `$KPEERING_E2E_STOP_API` and `$KPEERING_E2E_START_API`, run by sh on this machine.
 */
export async function withoutApiServer(work: () => Promise<void>): Promise<void> {
  const stop = command('KPEERING_E2E_STOP_API');
  const start = command('KPEERING_E2E_START_API');
  try {
    await shell(stop);
    await work();
  } finally {
    await shell(start);
  }
}

function command(name: string): string {
  const text = process.env[name];
  if (text === undefined || text === '') {
    throw new Error(`$${name} is not set: the command that ${name.includes('STOP') ? 'stops' : 'continues'} the API server's process`);
  }
  return text;
}

async function shell(text: string): Promise<void> {
  const { code, stdout, stderr } = await run(['sh', '-c', text], process.env);
  if (code !== 0) throw new Error(`${text}: exit code ${code}: ${stderr}${stdout}`);
}
