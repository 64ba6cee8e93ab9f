// A ZeroMQ PUB or SUB socket over NORM, by libzmq built with libnorm. Prints one JSON object per line for each event, until
// its input ends.
//
//     zmq has                      exit status 0 if this libzmq speaks norm://
//     zmq pub URL COUNT            publishes two-part messages, number 0 to COUNT-1: "topic", and "number N"
//     zmq sub URL                  tells each part that comes: hex, and whether more follow
#include <zmq.h>

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

static void fail(const char* what) {
    fprintf(stderr, "zmq: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static void say(const std::string& line) {
    puts(line.c_str());
    fflush(stdout);
}

static void tellPart(void* socket) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket, 0) < 0) fail("zmq_msg_recv");
    std::string hex;
    auto bytes = static_cast<const unsigned char*>(zmq_msg_data(&part));
    for (size_t i = 0; i < zmq_msg_size(&part); i++) {
        char digits[3];
        snprintf(digits, sizeof digits, "%02x", bytes[i]);
        hex += digits;
    }
    say("{\"event\":\"part\",\"info\":\"" + hex + "\",\"more\":" + (zmq_msg_more(&part) ? "true" : "false") + "}");
    zmq_msg_close(&part);
}

int main(int argc, char** argv) {
    alarm(120); // whatever happens
    if (argc == 2 && !strcmp(argv[1], "has")) return zmq_has("norm") ? 0 : 1;
    if (argc < 3) fail("want has, pub or sub");
    bool pub = !strcmp(argv[1], "pub");
    void* context = zmq_ctx_new();
    void* socket = zmq_socket(context, pub ? ZMQ_PUB : ZMQ_SUB);
    int none = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none); // no limit: a PUB drops beyond it
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    if (!pub) zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    if (pub ? zmq_bind(socket, argv[2]) : zmq_connect(socket, argv[2])) fail(argv[2]);
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    say("{\"event\":\"ready\",\"version\":\"" + std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch) + "\"}");
    for (int i = 0; pub && i < atoi(argv[3]); i++) {
        std::string body = "number " + std::to_string(i);
        if (zmq_send(socket, "topic", 5, ZMQ_SNDMORE) < 0 || zmq_send(socket, body.data(), body.size(), 0) < 0) fail("zmq_send");
    }
    zmq_pollitem_t waits[] = {{nullptr, STDIN_FILENO, ZMQ_POLLIN, 0}, {socket, 0, ZMQ_POLLIN, 0}};
    while (zmq_poll(waits, pub ? 1 : 2, -1) >= 0 && !(waits[0].revents & (ZMQ_POLLIN | ZMQ_POLLERR))) tellPart(socket);
    zmq_close(socket);
    zmq_ctx_term(context);
}
