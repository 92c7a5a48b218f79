// The agent of `kpctl up`, which is started for the user who has called sudo.
import { start } from './start.js';

start('kpctl', 'kpctl/up/agent-main');
