import { testServers } from './arrangement.ts';

testServers({ mode: 'none' });
