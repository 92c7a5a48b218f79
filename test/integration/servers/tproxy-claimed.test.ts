import { testServers } from './arrangement.ts';

testServers({ mode: 'tproxy', claimed: true });
