import { runAgent } from './agent.ts';

process.exit(await runAgent(process.argv[2] ?? ''));
