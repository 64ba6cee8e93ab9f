package store_test

const writerEnv = "STORE_TEST_WRITER"

func writeUntilKilled() {}
