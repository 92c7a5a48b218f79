import { enableCompileCache } from 'node:module';
import { userInfo } from 'node:os';
import { join } from 'node:path';

// As bin/start.js does; but root's own folder, whatever sudo has left of the environment: what is in it is run.
enableCompileCache(join(userInfo().homedir, '.cache', 'kpctl'));
await import('./program.ts');
