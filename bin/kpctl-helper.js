// The helper of `kpctl up`, which keeps root.
import { start } from './start.js';

start('kpctl', 'simulator/machine/helper/main');
