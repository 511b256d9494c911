package zeekapi

// APIVersion is the version of the agent API that agents announce in their hello.
// All dialects have the same, and there has been no other.
const APIVersion = 1
